"""What NumPy makes of a program is what XLA makes of it, operation by operation."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnn.verify.programs import _interpret
from funcnn.verify.programs._inline import inlined
from funcnn.verify.programs._interpret import TooLong, interpreted
from funcnn.verify.programs._numpy_operations import ELEMENTWISE, STRUCTURAL

RNG = np.random.default_rng(0)
X = RNG.standard_normal((3, 4))
Y = RNG.standard_normal((3, 4))
HARD = np.array(
    [0.0, -0.0, 0.5, -0.5, 1.5, 2.5, -2.5, np.inf, -np.inf, np.nan, 1e300, 1e-300]
)
IMAGE = RNG.standard_normal((2, 6, 5, 4))
KERNEL = RNG.standard_normal((3, 2, 2, 6))
IDS = np.array([[2, 0], [1, 2]])


def same(f, *args):
    """Interpreted and compiled, `f` returns the same, in shape and dtype too."""
    got, want = interpreted(f)(*args), jax.jit(f)(*args)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        np.testing.assert_allclose(a, b, rtol=1e-13, atol=1e-13)


UNARY = [
    jnp.abs, jnp.arccos, jnp.arccosh, jnp.arcsin, jnp.arcsinh, jnp.arctan, jnp.arctanh,
    jnp.cbrt, jnp.ceil, jnp.cos, jnp.cosh, jax.lax.erf, jax.lax.erfc, jnp.exp, jnp.exp2,
    jnp.expm1, jnp.floor, jnp.isfinite, jnp.log, jnp.log1p, jax.lax.logistic, jnp.negative,
    jax.lax.rsqrt, jnp.round, jax.lax.round, jnp.sign, jnp.sin, jnp.sinh, jnp.sqrt,
    jnp.square, jax.lax.stop_gradient, jnp.tan, jnp.tanh, lambda x: x**3, lambda x: x**-2,
    lambda x: jnp.clip(x, -1, 1), lambda x: x.astype(jnp.float32).astype(bool),
    lambda x: jnp.nan_to_num(x).astype(int),
]  # fmt: skip
BINARY = [
    jnp.add, jnp.arctan2, jnp.divide, jnp.equal, jnp.greater, jnp.greater_equal,
    jnp.less, jnp.less_equal, jnp.maximum, jnp.minimum, jnp.multiply, jnp.not_equal,
    jnp.power, jax.lax.rem, jnp.subtract,
]  # fmt: skip


def test_functions_of_numbers():
    # in one program, since it is compiled for comparison
    same(lambda x: [f(x) for f in UNARY], np.where(abs(HARD) > 1e3, 7.0, HARD))
    same(lambda x: [f(x) for f in UNARY if "int" not in str(f)][:36], HARD)
    same(lambda x, y: [f(x, y) for f in BINARY], HARD, HARD[::-1].copy())
    same(
        lambda i, j: [i // j, i % j, i & j, i | j, i ^ j, ~i],
        np.arange(9),
        1 + np.arange(9),
    )
    same(lambda x: [jnp.real(x), jnp.imag(x), jnp.conj(x), x * x, jnp.exp(x)], X + 1j * Y)


STRUCTURES = {
    "reduce": lambda x: [
        g(x, axis) for g in (jnp.sum, jnp.max, jnp.min, jnp.prod, jnp.argmax, jnp.argmin)
        for axis in (0, 1)
    ],
    "empty": lambda x: [x[:0].sum(0), jnp.max(x[:0], 0, initial=-1.0), x[:, :0].sum()],
    "logic": lambda x: [(x > 0).all(0), (x > 0).any(1), jnp.where(x > 0, x, 0)],
    "running": lambda x: [jnp.cumsum(x, 1), jax.lax.cumsum(x, 0, reverse=True)],
    "shapes": lambda x: [x.T, x.reshape(2, 6), x[None], x[:, ::2], x[::-1], x[1:3, 1:2]],
    "broadcast": lambda x: [jnp.broadcast_to(x[:, :1], (2, 3, 5)), jnp.arange(4.0) + x],
    "parts": lambda x: [*jnp.split(x, 2, 1), jnp.stack([x, x], 1), jnp.concatenate([x, x])],
    "pad": lambda x: [
        jax.lax.pad(x, 2.0, config)
        for config in (
            [(1, 2, 1), (0, 0, 0)], [(-1, 3, 2), (2, -3, 0)], [(-2, -1, 1), (0, 1, 3)]
        )
    ],
    "dot": lambda x: [x @ x.T, jnp.einsum("ij,ik->jk", x, x), jnp.einsum("ij,ij->i", x, x)],
    "slices": lambda x: [
        jax.lax.dynamic_slice(x, (2, 9), (2, 2)),
        jax.lax.dynamic_update_slice(x, x[:2, :2], (2, -1)),
    ],
    "gather": lambda x: [
        x[IDS], x[:, IDS], x.at[IDS].get(mode="clip"), x.at[IDS + 2].get(mode="fill"),
        jnp.take_along_axis(x, IDS % 2, 1)[:2] if x.shape[0] == 2 else x[IDS, IDS],
        jax.vmap(lambda row, i: row[i])(x, IDS[0].repeat(2)[:3]),
    ],
    "scatter": lambda x: [
        x.at[IDS].add(1.0), x.at[IDS + 2].add(2.0), x.at[IDS, IDS].set(3.0),
        x.at[IDS + 2].add(2.0, mode="clip"), x.at[IDS + 2].set(2.0),
        jax.vmap(lambda row, i: row.at[i].add(1.0))(x, IDS[0].repeat(2)[:3]),
    ],
    "loops": lambda x: [
        jax.lax.scan(lambda c, r: (c * r, c + r), x[0], x),
        jax.lax.scan(lambda c, r: (c * r, c + r), x[0], x, reverse=True),
        jax.lax.scan(lambda c, _: (c, c), x, None, 0),
        jax.lax.while_loop(lambda c: c.sum() < 50, lambda c: c + 1, x),
        jax.lax.switch(jnp.int32(7), [jnp.sin, jnp.cos], x),
        jax.checkpoint(jnp.sin)(x),
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", STRUCTURES)
def test_arrays_are_taken_apart_and_put_together(name):
    same(STRUCTURES[name], X)


def test_convolutions_and_windows():
    conv = functools.partial(
        jax.lax.conv_general_dilated, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )

    def several(x, w):
        pooled = [
            jax.lax.reduce_window(x, 0.0, jax.lax.add, (1, 2, 3, 1), (1, 2, 1, 1), padding)
            for padding in ("VALID", "SAME")
        ]
        grouped = [
            conv(x, w, (2, 1), "SAME", feature_group_count=2),
            conv(x, w, (1, 1), [(2, -1), (0, 3)], (2, 1), (1, 2), feature_group_count=2),
            conv(x, w[:, :, :, :2].repeat(2, 2), (1, 1), "VALID", batch_group_count=2),
        ]
        return pooled, grouped, jax.grad(lambda w: (grouped[0] * conv(
            x, w, (2, 1), "SAME", feature_group_count=2)).sum())(w)  # fmt: skip

    same(several, IMAGE, KERNEL)


def test_what_numpy_has_not_jax_runs():
    def several(x):
        key = jax.random.key(3)
        bits = jax.random.normal(key, (5,))
        return [jnp.sort(x, 1), jax.scipy.special.gammaln(x), bits, jnp.linalg.inv(x @ x.T)]

    same(several, X)
    same(lambda x: [x + x, -x], X.astype(jnp.bfloat16))


def test_every_operation_is_tried(monkeypatch):
    # by this file: a wrong entry in the tables would else be found by no one
    tried = set()
    by_numpy = _interpret._by_numpy

    def watch(eqn, values):
        out = by_numpy(eqn, values)
        tried.update([eqn.primitive.name] if out is not None else [])
        return out

    monkeypatch.setattr(_interpret, "_by_numpy", watch)
    monkeypatch.setattr(
        "tests.verify.programs.test_interpret.same",
        lambda f, *args: interpreted(f)(*args),
    )
    for f in (lambda x: [g(x) for g in UNARY], *STRUCTURES.values()):
        interpreted(f)(X)
    interpreted(lambda x, y: [f(x, y) for f in BINARY])(X, Y)
    # the rest is in tests above, or differs in versions of JAX
    left = {*ELEMENTWISE, *STRUCTURAL} - tried
    assert left <= {
        "add_any", "and", "conj", "conv_general_dilated", "copy", "copy_p", "cumprod",
        "imag", "not", "one_minus_square", "optimization_barrier", "or", "real",
        "reduce_window_sum", "stack", "square", "unstack", "xor", "clamp", "expand_dims",
        "stop_gradient", "squeeze", "rev", "split", "acos", "acosh",
    }, left  # fmt: skip


def test_long_loops_are_left_to_the_compiler():
    def f(x):
        return jax.lax.fori_loop(0, 100_000, lambda _, x: x + 1, x)

    with pytest.raises(TooLong):
        interpreted(f)(X)


def test_an_inlined_function_is_differentiated_as_it_is():
    @jax.custom_vjp
    def f(x):
        return jnp.sin(x)

    f.defvjp(lambda x: (jnp.sin(x), x), lambda x, dy: (3 * dy,))
    g = inlined(jax.jit(lambda x: [jnp.clip(f(x), -2, 2)]))
    np.testing.assert_allclose(jax.vjp(g, X)[1]([Y])[0], 3 * Y)
    np.testing.assert_allclose(jax.vmap(g)(X)[0], np.sin(X))
