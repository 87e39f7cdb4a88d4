"""NumPy scalars for what a rule holds fixed."""

from functools import partial

import jax
import numpy as np
import pytest

from funcnn import verify

X = np.random.default_rng(0).standard_normal((2, 3))


@partial(jax.custom_vjp, nondiff_argnums=(0, 2))
def scaled(n, x, s):
    return n * x * s


scaled.defvjp(lambda n, x, s: (n * x * s, None), lambda n, s, _, dy: (n * dy * s,))


@pytest.mark.parametrize("s", [2.5, np.float64(2.5), np.float32(2.5), np.int64(3)])
@pytest.mark.parametrize(
    "f, args",
    [
        (scaled, (np.int32(2), X)),
        (partial(scaled, 2), (X,)),
        (jax.jit(scaled, static_argnums=(0, 2)), (2, X)),
    ],
    ids=["plain", "partial", "jitted"],
)
def test_a_numpy_scalar_may_be_held_fixed(f, args, s):
    report = verify.check_vjp(f, *args, s, claims=("rule", "vjp", "diff", "dtype"))
    assert report.ok, str(report)
    grad = jax.grad(lambda x: verify.autodiff(f)(*args[:-1], x, s).sum())(X)
    np.testing.assert_allclose(grad, np.full(X.shape, 2 * float(s)))


def test_a_numpy_scalar_is_differentiated_elsewhere():
    @jax.custom_vjp
    def product(x, s):
        return x * s

    product.defvjp(lambda x, s: (x * s, (x, s)), lambda r, dy: (dy * r[1], 0 * r[1]))
    report = verify.check_vjp(product, X, np.float64(2.0), claims=("vjp",))
    assert "the cotangent of s is wrong" in str(report)
