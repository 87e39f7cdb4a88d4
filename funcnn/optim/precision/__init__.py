"""Moments and params in few bits: dtypes, eight-bit codes, stochastic rounding."""
