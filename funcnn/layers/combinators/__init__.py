"""Layers made of layers: in sequence, residual, stacked, recomputed, in other dtypes."""
