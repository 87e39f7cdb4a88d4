"""An op and its rule held against loops over every index, in float64."""

import jax
import numpy as np

from tests.support import naive

RNG = np.random.default_rng


def check(op, forward, backward, *arrays, seed=0, rtol=1e-12, atol=1e-13):
    """Compare values and pullbacks; `forward` and `backward` are the naive ones.

    `backward(*arrays, dy)` returns a gradient for each array, or one for a single one.
    """
    y = forward(*arrays)
    dy = RNG(seed).standard_normal(np.shape(y))
    expected = backward(*arrays, dy)

    @jax.jit
    def value_and_gradients(arrays, dy):
        y, pullback = jax.vjp(op, *arrays)
        return y, pullback(dy)

    got, gradients = value_and_gradients(arrays, dy)
    assert got.dtype == np.float64
    np.testing.assert_allclose(got, y, rtol, atol, err_msg="the value")
    if len(arrays) == 1:
        expected = (expected,)
    for i, (g, e) in enumerate(zip(gradients, expected, strict=True)):
        assert (g is None) == (e is None)
        if e is not None:
            assert g.dtype == np.float64
            name = f"the gradient of argument {i}"
            np.testing.assert_allclose(g, e, rtol, atol, err_msg=name)


def check_bilinear(op, terms_and_shape, a, b):
    terms, shape = terms_and_shape
    check(
        op,
        lambda a, b: naive.bilinear(terms, a, b, shape),
        lambda a, b, dy: naive.bilinear_grad(terms, a, b, dy),
        a,
        b,
    )


def normals(*shapes, seed=1):
    rng = RNG(seed)
    return tuple(None if s is None else rng.standard_normal(s) for s in shapes)
