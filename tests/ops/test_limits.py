"""Activations and gates where formulas break: at infinity, at kinks, far out."""

import functools
import math

import jax.numpy as jnp
import numpy as np
import pytest

from funcnn import ops
from tests.support.hard_points import (
    DTYPES,
    INF,
    ROUNDING,
    close,
    normal,
    value_and_pullback,
    values_and_pullbacks,
    wide,
)

# Activations: (value, derivative) at -inf, at 0 and at +inf

LIMITS = {
    "relu": ((0, 0), (0, 0), (INF, 1)),
    "leaky_relu": ((-INF, 0.01), (0, 0.01), (INF, 1)),
    "elu": ((-1, 0), (0, 1), (INF, 1)),
    "sigmoid": ((0, 0), (0.5, 0.25), (1, 0)),
    "tanh": ((-1, 0), (0, 1), (1, 0)),
    "silu": ((0, 0), (0, 0.5), (INF, 1)),
    "gelu": ((0, 0), (0, 0.5), (INF, 1)),
    "gelu, exact": ((0, 0), (0, 0.5), (INF, 1)),
    "softplus": ((0, 0), (math.log(2), 0.5), (INF, 1)),
}


@functools.cache
def activations_far_out(dtype):
    """All of them at once: the points, the cotangents, and by name what was found."""
    x = jnp.array([-INF, -1e4, 0.0, 1e4, INF], dtype)
    dy = jnp.array([0.5, -2.0, 4.0, -0.25, 8.0], dtype)

    def op(name):
        f = getattr(ops, name.split(",")[0])
        return functools.partial(f, approximate=False) if name.endswith("exact") else f

    return x, dy, values_and_pullbacks({name: (op(name), (x,), dy) for name in LIMITS})


@DTYPES
@pytest.mark.parametrize("name", LIMITS)
def test_activations_reach_their_limits(name, dtype):
    low, zero, high = LIMITS[name]
    x, dy, found = activations_far_out(dtype)
    y, (dx,) = found[name]

    far = wide(x)[[1, 3]]
    near_low = low[0] if math.isfinite(low[0]) else 0.01 * far[0]
    near_high = high[0] if math.isfinite(high[0]) else far[1]
    slopes = [low[1], low[1], zero[1], high[1], high[1]]
    assert y.dtype == dx.dtype == x.dtype
    close(y, [low[0], near_low, zero[0], near_high, high[0]], ROUNDING[dtype])
    close(dx, slopes * wide(dy), ROUNDING[dtype])


def test_the_derivative_of_relu_at_either_zero_is_zero():
    _, (dx,) = value_and_pullback(ops.relu, (jnp.array([0.0, -0.0]),))
    assert not dx.any()


def test_exact_gelu_keeps_its_digits_on_the_left():
    """What rounding does to the argument, the exponential magnifies by its square."""
    x = np.linspace(-12.5, -1.0, 500, dtype=np.float32)
    y, (dx,) = value_and_pullback(lambda x: ops.gelu(x, False), (x,))
    below = np.array([math.erfc(-v / math.sqrt(2)) / 2 for v in x.tolist()])
    slope = below + wide(x) * np.exp(-(wide(x) ** 2) / 2) / math.sqrt(2 * math.pi)
    magnified = (4 + wide(x) ** 2) * 2**-23
    assert (np.abs(wide(y) / (x * below) - 1) < magnified).all()
    assert (np.abs(wide(dx) / slope - 1) < magnified).all()


GATES = {
    "swiglu": (ops.swiglu, ops.silu),
    "geglu": (ops.geglu, ops.gelu),
    "geglu, exact": (
        functools.partial(ops.geglu, approximate=False),
        functools.partial(ops.gelu, approximate=False),
    ),
}


@DTYPES
def test_gates_reach_their_limits(dtype):
    gate = jnp.array([-INF, -INF, -1e4, 0.0, 1e4, INF, INF], dtype)
    value = jnp.array([2.0, -1e4, -3.0, 4.0, 2.0, 3.0, -0.5], dtype)
    dy = jnp.array([0.5, 1e4, -2.0, 4.0, -0.25, 8.0, -2.0], dtype)

    found = values_and_pullbacks(
        {name: (gated, (gate, value), dy) for name, (gated, _) in GATES.items()}
    )

    far = wide(gate)[4]
    for y, (dgate, dvalue) in found.values():
        assert y.dtype == dgate.dtype == dvalue.dtype == dtype
        close(y, [0, 0, 0, 0, 2 * far, INF, -INF], ROUNDING[dtype])
        close(dgate, [0, 0, 0, 8, -0.5, 24, 1], ROUNDING[dtype])
        close(dvalue, [0, 0, 0, 0, -0.25 * far, INF, -INF], ROUNDING[dtype])


@pytest.mark.parametrize("name", GATES)
def test_infinite_values_pass_and_zeros_times_infinity_are_nan(name):
    gated, _ = GATES[name]
    gate = jnp.array([1.0, 1.0, -INF, INF])
    value = jnp.array([INF, -INF, INF, 0.0])
    y, (dgate, dvalue) = value_and_pullback(gated, (gate, value))
    close(y, [INF, -INF, math.nan, math.nan], 0)
    close(dgate, [INF, -INF, math.nan, 0], 0)
    assert np.isfinite(wide(dvalue)[:3]).all()


@DTYPES
@pytest.mark.parametrize("name", GATES)
def test_gates_are_their_activations(name, dtype):
    """Also far out on the left, where what passes is tiny and its digits are kept."""
    gated, activation = GATES[name]
    low = jnp.linspace(-9.0, 3.0, 49).astype(dtype)
    value, dy = normal(49).astype(dtype), normal(49).astype(dtype)
    gate = wide(low)

    found = values_and_pullbacks(
        {
            "gated": (gated, (low, value), dy),
            "activation": (activation, (jnp.asarray(gate),), None),
        }
    )
    y, (dgate, dvalue) = found["gated"]
    act, (slope,) = found["activation"]

    rtol, atol = (5 * ROUNDING[dtype] + 1e-12, float(jnp.finfo(dtype).tiny))
    close(y, wide(act) * wide(value), rtol, atol)
    close(dvalue, wide(act) * wide(dy), rtol, atol)
    near = np.abs(wide(slope)) > 1e-2  # where it crosses 0, digits are lost
    expected = wide(slope) * wide(value) * wide(dy)
    close(wide(dgate)[near], expected[near], 5 * rtol)


def test_gates_of_two_dtypes():
    gate, value = normal(3, 4).astype("bfloat16"), normal(3, 4).astype("float32")
    for op in (ops.swiglu, ops.geglu):
        for arrays in ((gate, value), (value, gate)):
            y, gradients = value_and_pullback(op, arrays)
            assert y.dtype == jnp.float32
            assert [g.dtype for g in gradients] == [a.dtype for a in arrays]
