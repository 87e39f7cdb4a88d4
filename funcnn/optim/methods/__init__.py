"""Optimizers that train alone, one a file, each with its formulas and its paper."""
