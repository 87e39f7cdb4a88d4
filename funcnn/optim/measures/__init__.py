"""Gradients, updates and params in, numbers out: norms, ratios, counts of NaN."""
