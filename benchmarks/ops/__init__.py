"""Ops against autodiff of what a JAX user would write."""
