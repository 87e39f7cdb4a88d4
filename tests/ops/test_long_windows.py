"""Windows and kernels of any length: the right numbers, by programs that stay short."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnn import ops
from funcnn.kernels._windows import pool_windows
from funcnn.ops._avg_pool import avg_pool_reference
from funcnn.ops._col2im import col2im_reference
from funcnn.ops._im2col import im2col_reference

RNG = np.random.default_rng(0)
MOST = 600  # equations of a gradient, with those of all loops and branches


def normal(*shape):
    return RNG.standard_normal(shape)


def values_and_cotangents(f, *args):
    y, pull = jax.vjp(f, *args)
    dy = jnp.asarray(np.random.default_rng(1).standard_normal(y.shape))
    return y, *pull(dy)


def same(f, reference, *args):
    both = jax.jit(lambda *args: [values_and_cotangents(g, *args) for g in (f, reference)])
    for a, b in zip(*both(*args), strict=True):
        np.testing.assert_allclose(a, b, 1e-9, 1e-9)


def max_pool_reference(x, window, stride=None, padding="VALID"):
    """The first largest of each window, all windows being gathered."""
    w = pool_windows("max_pool", x.shape, window, stride, padding)
    x = jnp.pad(x, ((0, 0), *w.padding, (0, 0)), constant_values=-jnp.inf)
    for axis in range(len(w.size)):
        first = w.stride[axis] * np.arange(w.out[axis])[:, None]
        x = jnp.take(x, first + np.arange(w.kernel[axis]), 2 * axis + 1)
    rank = len(w.size)
    kernels = range(2, 2 * rank + 1, 2)
    x = x.transpose(0, *range(1, 2 * rank, 2), 2 * rank + 1, *kernels)
    x = x.reshape(*x.shape[: rank + 2], -1)
    return jnp.take_along_axis(x, jnp.argmax(x, -1)[..., None], -1)[..., 0]


def few(*shape):
    """Numbers of which many are equal."""
    return RNG.integers(0, 4, shape).astype(float)


# Windows longer than any that has an operation for each of its elements.
POOLS = {
    "the axis": ((2, 100, 3), 100, None, "VALID"),
    "tiles, a rest": ((2, 210, 3), 50, None, "VALID"),
    "overlapping": ((2, 90, 3), 37, 1, "SAME"),
    "stride": ((1, 200, 2), 70, 9, ((20, 31),)),
    "gaps": ((2, 200, 2), 33, 40, ((5, 0),)),
    "two axes": ((2, 30, 40, 2), (20, 33), (3, 1), "SAME"),
    "two axes of tiles": ((2, 40, 66, 2), (20, 33), None, "VALID"),
    "three axes": ((1, 6, 20, 7, 2), (6, 18, 4), (1, 2, 3), "SAME"),
}


@pytest.mark.parametrize("make", [normal, few])
@pytest.mark.parametrize("name", POOLS)
def test_max_pool(name, make):
    shape, *windows = POOLS[name]
    same(
        lambda x: ops.max_pool(x, *windows),
        lambda x: max_pool_reference(x, *windows),
        make(*shape),
    )


@pytest.mark.parametrize("windows", [(64,), (64, 3, "SAME"), (64, 100)])
def test_the_first_nan_wins(windows):
    x = normal(1, 128, 1)
    x[0, [20, 30, 100], 0] = np.nan
    y, dx = values_and_cotangents(lambda x: ops.max_pool(x, *windows), jnp.asarray(x))
    _, wanted = values_and_cotangents(
        lambda x: max_pool_reference(x, *windows), jnp.asarray(x)
    )
    assert np.isnan(y[0, 0, 0])
    np.testing.assert_allclose(dx, wanted, 1e-12)


@pytest.mark.parametrize("name", POOLS)
def test_avg_pool(name):
    shape, *windows = POOLS[name]
    same(
        lambda x: ops.avg_pool(x, *windows),
        lambda x: avg_pool_reference(x, *windows),
        normal(*shape),
    )


def test_long_averages_keep_their_digits():
    x = jnp.asarray(1e4 + normal(1, 4096, 1), jnp.float32)
    y = ops.avg_pool(x, 1000, 1)
    wide = ops.avg_pool(x.astype(float), 1000, 1)
    np.testing.assert_allclose(y, wide, 2e-7)


@pytest.mark.parametrize(
    "shape, windows",
    [
        ((2, 150, 2), (70, 3, "SAME", 2)),
        ((1, 12, 12, 2), (9, (2, 1), ((3, 4), (0, 1)))),
    ],
)
def test_patches(shape, windows):
    same(
        lambda x: ops.im2col(x, *windows),
        lambda x: im2col_reference(x, *windows),
        normal(*shape),
    )
    cols = jax.eval_shape(lambda x: ops.im2col(x, *windows), normal(*shape)).shape
    same(
        lambda x: ops.col2im(x, shape, *windows),
        lambda x: col2im_reference(x, shape, *windows),
        normal(*cols),
    )


CONVS = {  # image, kernel, stride, padding, dilation, groups
    "few channels": ((2, 150, 2), (100, 2, 3), 1, "SAME", 1, 1),
    "more": ((2, 90, 16), (70, 16, 24), 1, "SAME", 1, 1),
    "dilated, strided": ((2, 300, 2), (80, 2, 2), 3, "SAME", 2, 1),
    "depthwise": ((2, 150, 4), (100, 1, 4), 1, "SAME", 1, 4),
    "depthwise, dilated": ((2, 300, 4), (80, 1, 8), 3, "SAME", 2, 4),
    "depthwise, long stride": ((2, 150, 4), (70, 1, 4), 25, "VALID", 1, 4),
    "depthwise, two axes": ((2, 12, 14, 3), (9, 9, 1, 3), (1, 2), "SAME", 1, 3),
    "depthwise, wide": ((2, 5, 80, 3), (3, 66, 1, 3), 1, "SAME", 1, 3),
    "one output a group": ((2, 90, 6), (70, 2, 3), 1, "SAME", 1, 3),
    "groups": ((2, 90, 4), (70, 2, 6), 2, "SAME", 1, 2),
    "two axes": ((2, 14, 12, 2), (9, 9, 2, 3), 1, "SAME", 1, 1),
}


DIMENSIONS = {1: ("NWC", "WIO", "NWC"), 2: ("NHWC", "HWIO", "NHWC")}


@pytest.mark.parametrize("name", CONVS)
def test_conv(name):
    shape, kernel, *options = CONVS[name]
    stride, padding, dilation, groups = options
    rank = len(shape) - 2

    def plain(x, weight):
        return jax.lax.conv_general_dilated(
            x,
            weight,
            np.broadcast_to(stride, rank),
            padding,
            rhs_dilation=np.broadcast_to(dilation, rank),
            dimension_numbers=("NWC", "WIO", "NWC")
            if rank == 1
            else ("NHWC", "HWIO", "NHWC"),
            feature_group_count=groups,
        )

    same(
        lambda x, weight: ops.conv(x, weight, None, *options),
        plain,
        normal(*shape),
        normal(*kernel),
    )


def equations(jaxpr):
    """How many there are, inner ones included."""
    inner = [
        getattr(v, "jaxpr", v)
        for eqn in jaxpr.eqns
        for p in eqn.params.values()
        for v in (p if isinstance(p, tuple | list) else [p])
    ]
    return len(jaxpr.eqns) + sum(equations(j) for j in inner if hasattr(j, "eqns"))


def image(*shape):
    return jax.ShapeDtypeStruct(shape, "float32")


LONG = {
    "max, the axis": (lambda x: ops.max_pool(x, 1024), image(2, 1024, 8)),
    "max, overlapping": (lambda x: ops.max_pool(x, 1024, 1, "SAME"), image(2, 2048, 8)),
    "max, stride": (lambda x: ops.max_pool(x, 1024, 7), image(2, 2048, 8)),
    "max, gaps": (lambda x: ops.max_pool(x, 1024, 1030), image(2, 4096, 8)),
    "max, two axes": (lambda x: ops.max_pool(x, 64, 3, "SAME"), image(2, 128, 128, 2)),
    "average": (lambda x: ops.avg_pool(x, 1024, 1, "SAME"), image(2, 2048, 8)),
    "average, two axes": (lambda x: ops.avg_pool(x, 64, 3, "SAME"), image(2, 128, 128, 2)),
    "im2col": (lambda x: ops.im2col(x, 1024), image(2, 2048, 2)),
    "col2im": (lambda x: ops.col2im(x, (2, 64, 2), 1024), image(2, 64, 2048)),
    "transposed": (
        lambda x, w: ops.conv_transpose(x, w, None, 2),
        image(2, 64, 4),
        image(1024, 4, 4),
    ),
} | {
    f"conv, {groups} groups, stride {stride}": (
        lambda x, w, stride=stride, groups=groups: ops.conv(
            x, w, None, stride, "SAME", 1, groups
        ),
        image(2, 2048, 8),
        image(1024, 8 // groups, 8),
    )
    for groups in (1, 2, 8)
    for stride in (1, 2, 1024)
}


@pytest.mark.parametrize("name", LONG)
def test_programs_do_not_grow_with_the_window(name):
    f, *args = LONG[name]
    grad = jax.grad(lambda *args: (f(*args) ** 2).sum(), tuple(range(len(args))))
    assert equations(jax.make_jaxpr(grad)(*args).jaxpr) <= MOST
