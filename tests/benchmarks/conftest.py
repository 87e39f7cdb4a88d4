"""What tests of benchmarks share."""

import os

import jax
import pytest

# PyTorch's threads wait for each other by spinning, for long beside other tests.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")


@pytest.fixture
def plain_jax(monkeypatch):
    """JAX as users have it, and what it compiled for other tests left alone."""
    monkeypatch.setattr(jax, "clear_caches", lambda: None)
    with jax.enable_x64(False), jax.numpy_dtype_promotion("standard"):
        yield
