"""Fingerprints tell arrays apart, by all their bits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnn.train.checkpoints._fingerprint import fingerprint


@pytest.mark.parametrize("dtype", ["bool", "int4", "uint8", "bfloat16", "float32", "int64"])
def test_a_fingerprint_is_of_all_bits_and_their_places(dtype):
    a = jnp.asarray(np.arange(24).reshape(2, 3, 4) % 2).astype(dtype)
    whole = fingerprint(a)
    assert whole.dtype == jnp.uint32
    assert fingerprint(a.copy()) == whole
    others = [a[:, :, ::-1]]
    for i in np.ndindex(2, 3, 4):
        b = np.array(a)
        b[i] = not b[i]
        others.append(jnp.asarray(b))
    prints = [int(fingerprint(b)) for b in others]
    assert len({int(whole), *prints}) == 1 + len(others)


def test_a_fingerprint_tells_zeros_keys_and_imaginary_parts_apart():
    def differ(a, b):
        return fingerprint(a) != fingerprint(b)

    assert differ(jnp.zeros(2), -jnp.zeros(2))
    assert differ(jax.random.key(0), jax.random.key(1))
    assert differ(jnp.asarray(1 + 2j), jnp.asarray(1 + 3j))
    assert differ(jnp.asarray(1.0), jnp.asarray(1 + 2.0**-52))
    assert fingerprint(jnp.zeros((0, 3))) == 0
