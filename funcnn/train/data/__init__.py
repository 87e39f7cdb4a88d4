"""Batches of arrays: shuffled, fetched ahead, standardized."""
