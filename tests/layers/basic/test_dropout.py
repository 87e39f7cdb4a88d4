"""Dropout: by a key, and the identity without one."""

import jax
import numpy as np
import pytest

from funcnn import ops
from funcnn.layers import Dropout
from tests.support.layers import KEY, assert_equal, fails, normal


def test_dropout_is_the_identity_without_a_key():
    x = normal((50, 20))
    assert Dropout(0.5).apply({}, x) is x
    assert_equal(Dropout(0.5).apply({}, x, key=None), x)


def test_dropout_with_a_key_is_the_op():
    x, rates = normal((50, 20)), [0, 0.0, 0.25, 1, 1.0]

    @jax.jit
    def both(key, x):
        return [(Dropout(r).apply({}, x, key=key), ops.dropout(key, x, r)) for r in rates]

    for rate, (y, want) in zip(rates, both(KEY, x), strict=True):
        assert_equal(y, want)
        assert (np.asarray(y) == 0).mean() == pytest.approx(rate, abs=0.07)


@pytest.mark.parametrize("rate", [-0.1, 1.1, float("nan"), float("inf")])
def test_dropout_rate_out_of_range(rate):
    fails(ValueError, f"Dropout needs rate in [0.0, 1.0]; got {rate}.", Dropout, rate)


@pytest.mark.parametrize("rate", ["half", None, (0.5,)])
def test_dropout_rate_no_number(rate):
    fails(TypeError, f"Dropout needs a number for rate; got {rate!r}.", Dropout, rate)
