"""Convolutions, transposed and separable ones, and pools."""
