"""Optimizers in, an optimizer around them out: chains, parts, averages, no NaN."""
