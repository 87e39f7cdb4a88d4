"""Ops under every transformation of JAX."""
