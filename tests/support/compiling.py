"""Programs that are compiled quickly, for tests of what they compute."""

import jax
import pytest


@pytest.fixture(autouse=True, scope="module")
def quickly():
    """Leave out what makes machine code fast; XLA still makes the same loops and arrays."""
    option = "jax_disable_most_optimizations"
    before = jax.config.read(option)
    jax.config.update(option, True)
    yield
    jax.config.update(option, before)
