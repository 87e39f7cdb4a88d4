"""Numbers rounded; cotangents of the wrong dtype."""

import jax
import jax.numpy as jnp
import numpy as np

from ..entry import Entry, normals, rule

BF16 = jnp.bfloat16


def scaled(x, scale):
    return x.astype(np.promote_types(x.dtype, scale.dtype)) * scale


def not_cast_back(r, dy):
    x, scale = r
    return dy * scale, (dy * x.astype(dy.dtype)).sum(0)


def always_float32(r, dy):
    return ((jnp.cos(r[0]) * dy).astype(jnp.float32),)


def tanh_of_rounded(x):
    y = jnp.tanh(x)
    return y, y.astype(BF16)


def rounded_residual(y, dy):
    return (dy * (1 - y.astype(dy.dtype) ** 2),)


def rounded_cotangent(r, dy):
    return (jnp.cos(r[0]) * dy.astype(BF16).astype(dy.dtype),)


def add_bias(x, bias):
    return x + bias


def running_sum(r, dy):
    """Adds rows one at a time in their own dtype: bfloat16 cannot count beyond 256."""
    return dy, jax.lax.scan(lambda s, row: (s + row, None), jnp.zeros_like(r[1]), dy)[0]


def rms_norm(x):
    high = x.astype(np.promote_types(x.dtype, np.float32))
    y = high * jax.lax.rsqrt((high**2).mean(-1, keepdims=True))
    return y.astype(x.dtype)


def squares_in_own_dtype(r, dy):
    (x,) = r
    inverse = jax.lax.rsqrt(jnp.mean(jnp.square(x), -1, keepdims=True, dtype=x.dtype))
    y = x * inverse
    return (inverse * (dy - y * (dy * y).mean(-1, keepdims=True)),)


def fast_in_float32(r, dy):
    (x,) = r
    if x.dtype == jnp.float32:
        return (dy * (1 - x**2 / 2 + x**4 / 24),)
    return (dy * jnp.cos(x),)


def gelu(x):
    return x * (1 + jnp.tanh((2 / np.pi) ** 0.5 * (x + 0.044715 * x**3))) / 2


def typed_in_constant(r, dy):
    (x,) = r
    t = jnp.tanh(0.7979 * (x + 0.044715 * x**3))
    slope = 0.7979 * (1 + 3 * 0.044715 * x**2)
    return (dy * ((1 + t) / 2 + x * (1 - t**2) * slope / 2),)


def wave(x):
    return jnp.sin(2 * np.pi * x)


def constant_in_float32(r, dy):
    (x,) = r
    turn = jnp.asarray(2 * np.pi, jnp.float32).astype(x.dtype)
    return (dy * turn * jnp.cos(2 * np.pi * x),)


def in_float64(make):
    return lambda rng: tuple(np.asarray(a, np.float64) for a in make(rng))


ARRAY = normals((3, 4))


def entry(name, note, primal, bwd, args, fwd=None):
    return Entry(name, note, rule(primal, bwd, fwd), args, primal)


ENTRIES = [
    entry(
        "bfloat16_cotangent_not_cast_back",
        "a bfloat16 argument's cotangent is float32",
        scaled,
        not_cast_back,
        lambda rng: (*normals((4, 3), dtype=BF16)(rng), *normals((3,))(rng)),
    ),
    entry(
        "cotangent_always_float32",
        "a float64 argument's cotangent is float32",
        jnp.sin,
        always_float32,
        in_float64(ARRAY),
    ),
    entry(
        "residual_in_bfloat16",
        "the output is kept in bfloat16 for the backward pass",
        jnp.tanh,
        rounded_residual,
        ARRAY,
        tanh_of_rounded,
    ),
    entry(
        "cotangent_rounded_to_bfloat16",
        "the cotangent is rounded before use",
        jnp.sin,
        rounded_cotangent,
        ARRAY,
    ),
    entry(
        "bfloat16_rows_counted_in_bfloat16",
        "a running sum in bfloat16 stops growing; in float64 it is right",
        add_bias,
        running_sum,
        normals((1000, 2), (2,), dtype=BF16),
    ),
    entry(
        "float16_squares_overflow_backward",
        "squares overflow in float16, where the forward pass is careful; float64 is right",
        rms_norm,
        squares_in_own_dtype,
        lambda rng: ((300 * (1 + rng.random((3, 4)))).astype(np.float16),),
    ),
    entry(
        "float32_has_a_fast_path",
        "in float32 the slope is a short series; in float64 it is right",
        jnp.sin,
        fast_in_float32,
        lambda rng: (rng.uniform(-2, 2, 8).astype(np.float32),),
    ),
    entry(
        "gelu_constant_of_four_digits",
        "the backward pass has 0.7979 for sqrt(2 / pi)",
        gelu,
        typed_in_constant,
        ARRAY,
    ),
    entry(
        "constant_in_float32",
        "the backward pass has 2 pi in float32",
        wave,
        constant_in_float32,
        in_float64(ARRAY),
    ),
]
