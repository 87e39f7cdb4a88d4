"""Slopes of activations at every number of 16 bits, and in the tails of longer ones.

What is wanted is computed in float64, in forms that keep their digits in both tails.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnn import ops

ROOT, CUBIC = np.sqrt(2 / np.pi), 0.044715


def logistic(x):
    e = np.exp(-abs(x))
    return np.where(x < 0, e, 1) / (1 + e)


def of_gelu(x):
    u, rise = ROOT * (x + CUBIC * x**3), ROOT * (1 + 3 * CUBIC * x**2)
    s = logistic(2 * u)
    with np.errstate(invalid="ignore"):  # far out, where s or 1 - s is 0
        return s + np.nan_to_num(2 * x * s * logistic(-2 * u) * rise, posinf=0, neginf=0)


def of_exact_gelu(x):
    below = 0.5 * np.asarray(jax.lax.erfc(-x / np.sqrt(2)))
    return below + x * np.exp(-0.5 * x**2) / np.sqrt(2 * np.pi)


# Functions, and their slopes.
SLOPES = {
    "sigmoid": (ops.sigmoid, lambda x: logistic(x) * logistic(-x)),
    "tanh": (ops.tanh, lambda x: 4 * logistic(2 * x) * logistic(-2 * x)),
    "silu": (ops.silu, lambda x: logistic(x) * (1 + x * logistic(-x))),
    "gelu": (ops.gelu, of_gelu),
    "exact gelu": (lambda x: ops.gelu(x, False), of_exact_gelu),
    "softplus": (ops.softplus, logistic),
    "elu": (ops.elu, lambda x: np.exp(np.minimum(x, 0))),
    "elu 30": (
        lambda x: ops.elu(x, 30.0),
        lambda x: np.where(x > 0, 1, 30 * np.exp(np.minimum(x, 0))),
    ),
    "leaky_relu": (lambda x: ops.leaky_relu(x, 0.3), lambda x: np.where(x > 0, 1, 0.3)),
    "swiglu": (
        lambda x: ops.swiglu(x, jnp.ones_like(x)),
        lambda x: logistic(x) * (1 + x * logistic(-x)),
    ),
    "geglu": (lambda x: ops.geglu(x, jnp.ones_like(x)), of_gelu),
}
# Gates, by their value: the slope is the activation.
VALUES = {
    "swiglu": (ops.swiglu, lambda x: x * logistic(x)),
    "geglu": (ops.geglu, lambda x: x * logistic(2 * ROOT * (x + CUBIC * x**3))),
    "exact geglu": (
        lambda x, v: ops.geglu(x, v, False),
        lambda x: 0.5 * x * np.asarray(jax.lax.erfc(-x / np.sqrt(2))),
    ),
}
EACH = pytest.mark.parametrize("name", SLOPES)


def every(dtype):
    """All finite numbers of 16 bits that are 0 or normal."""
    x = np.arange(2**16, dtype=np.uint16).view(jnp.dtype(dtype))
    with np.errstate(invalid="ignore"):
        size = abs(x.astype(float))
    return x[np.isfinite(size) & ((size >= float(jnp.finfo(dtype).tiny)) | (size == 0))]


def slope(f, x):
    return jax.vjp(f, x)[1](jnp.ones_like(x))[0]


@EACH
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_slopes_are_rounded_once(name, dtype):
    """Wherever they can be represented: within one unit in the last place."""
    f, want = SLOPES[name]
    x = every(dtype)
    found = np.asarray(jax.jit(lambda x: slope(f, x))(x), float)
    wanted, limits = want(x.astype(float)), jnp.finfo(dtype)
    normal = abs(wanted) >= float(limits.tiny)
    off = abs(found - wanted)[normal] / abs(wanted)[normal]
    assert off.max() <= float(limits.eps), x[normal][off.argmax()]
    assert (abs(found[~normal]) <= float(limits.tiny)).all()


@EACH
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_second_derivatives_are_finite_far_out(name, dtype):
    f, _ = SLOPES[name]
    x = jnp.asarray([*np.linspace(-110, 110, 441), 1e4, -1e4, 1e30, -1e30], dtype)
    twice = jax.jit(lambda x: slope(lambda x: slope(f, x), x))(x)
    assert jnp.isfinite(twice).all()
    # and through the value, which a gradient of a gradient differentiates too
    again = jax.jit(jax.vmap(jax.grad(jax.grad(lambda x: jnp.sin(f(x))))))(x[:441])
    assert jnp.isfinite(again).all()


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_slopes_of_values_are_rounded_once(name, dtype):
    f, want = VALUES[name]
    x = every(dtype)
    found = np.asarray(jax.jit(lambda x: slope(lambda v: f(x, v), x))(x), float)
    wanted, limits = want(x.astype(float)), jnp.finfo(dtype)
    normal = abs(wanted) >= float(limits.tiny)
    off = abs(found - wanted)[normal] / abs(wanted)[normal]
    assert off.max() <= float(limits.eps), x[normal][off.argmax()]


def jacobian(f, p):
    """Of a softmax in float64, with what all others take in place of 1 less one's own."""
    own, others = np.eye(3), p @ (1 - np.eye(3))
    scale = p[..., None] if f is ops.softmax else np.ones_like(p)[..., None]
    return own * (others * scale[..., 0])[..., None] - (1 - own) * scale * p[:, None]


@pytest.mark.parametrize("axis", [0, -1])
@pytest.mark.parametrize("f", [ops.softmax, ops.log_softmax])
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_slopes_of_softmaxes_are_right_in_the_tails(dtype, f, axis):
    """The largest element's too, when the others together are nothing beside 1."""
    ahead = np.linspace(0, 80 if dtype == "bfloat16" else 16, 161)
    rows = np.stack([ahead, 0 * ahead, 0 * ahead - 0.5], 1)
    x = jnp.asarray(np.concatenate([rows, rows[:, ::-1]]), dtype)
    turn = jnp.transpose if axis == 0 else jnp.asarray
    pullback = jax.vjp(lambda x: turn(f(turn(x), axis)), x)[1]
    found = [pullback(jnp.broadcast_to(e, x.shape))[0] for e in jnp.eye(3, dtype=dtype)]
    e = np.exp(np.asarray(x, float) - np.asarray(x, float).max(-1, keepdims=True))
    want, limits = jacobian(f, e / e.sum(-1, keepdims=True)), jnp.finfo(dtype)
    room = limits.smallest_subnormal if dtype == "float16" else limits.tiny
    found = np.asarray(jnp.stack(found, 1), float)
    np.testing.assert_allclose(found, want, float(limits.eps), float(room))


@pytest.mark.parametrize("axis", [0, -1])
@pytest.mark.parametrize("f", [ops.softmax, ops.log_softmax])
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_cotangents_of_softmaxes_are_rounded_once(dtype, f, axis):
    """Also where one element takes nearly all, and its probability rounds to 1."""
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(8, 8)) + 7 * np.eye(8), dtype)
    dy = jnp.asarray(rng.normal(size=(8, 8)), dtype)
    found = jax.vjp(lambda x: f(x, axis), x)[1](dy)[0]
    wide = jax.vjp(lambda x: f(x, axis), x.astype(float))[1](dy.astype(float))[0]
    eps = float(jnp.finfo(dtype).eps)
    np.testing.assert_allclose(np.asarray(found, float), wide, eps, 1e-7)


def test_constants_are_not_rounded_to_16_bits():
    x = jnp.asarray(np.linspace(-9, -1, 101), "bfloat16")
    wide = np.asarray(x, float)
    for found, want in (
        (ops.leaky_relu(x, 0.3), 0.3 * wide),
        (jax.vjp(lambda x: ops.leaky_relu(x, 0.3), -abs(x))[1](x)[0], 0.3 * wide),
        (ops.elu(x, 0.3), 0.3 * np.expm1(wide)),
    ):
        np.testing.assert_allclose(np.asarray(found, float), want, 2**-8)
    y = ops.dropout(jax.random.key(0), x, 0.1)
    kept = np.asarray(y != 0)
    np.testing.assert_allclose(np.asarray(y, float)[kept], (wide / 0.9)[kept], 2**-8)


NANS = {name: f for name, (f, _) in SLOPES.items()} | {
    "leaky_relu 0": lambda x: ops.leaky_relu(x, 0.0),
    "leaky_relu -0.3": lambda x: ops.leaky_relu(x, -0.3),
    "elu 0": lambda x: ops.elu(x, 0.0),
    "relu": ops.relu,
    "softmax": ops.softmax,
    "log_softmax": ops.log_softmax,
    "max_pool": lambda x: ops.max_pool(x[None, :, None], 2)[0, :, 0],
    "avg_pool": lambda x: ops.avg_pool(x[None, :, None], 2)[0, :, 0],
    "layer_norm": lambda x: ops.layer_norm(x, jnp.ones_like(x), jnp.ones_like(x)),
    "rms_norm": lambda x: ops.rms_norm(x, jnp.ones_like(x)),
    "cross entropy": lambda x: ops.softmax_cross_entropy(x, jnp.array(0)),
    "binary": lambda x: ops.binary_cross_entropy(x, jnp.array([0, 1, 0, 1])),
    "mse": lambda x: ops.mse(x, jnp.ones_like(x)),
}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", NANS)
def test_nan_is_not_swallowed(name, dtype):
    for at in (0, 1):
        x = jnp.asarray([0.5, -2.0, 1.0, 3.0], dtype).at[at].set(jnp.nan)
        y = jnp.atleast_1d(NANS[name](x))
        assert jnp.isnan(y if y.size == 1 else y[at if y.size == x.size else 0]).all()
