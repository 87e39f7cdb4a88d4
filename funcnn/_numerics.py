"""Numerical helpers shared by the ops."""

import functools
import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp

LARGE = 2**14  # numbers that are worth a condition, some microseconds
HUGE = 2**20  # numbers that several arrays of are more than caches hold


def promote(*arrays):
    """The dtype that holds all of `arrays`, also under strict promotion."""
    with jax.numpy_dtype_promotion("standard"):
        return jnp.result_type(*(a.dtype for a in arrays))


def accumulator(dtype):
    """The dtype to sum in: at least float32 (bfloat16 sums lose small terms)."""
    with jax.numpy_dtype_promotion("standard"):
        return jnp.promote_types(dtype, jnp.float32)


def upcast(x):
    """Cast to at least float32 (bfloat16 statistics lose the mean)."""
    return x.astype(accumulator(x.dtype))


def floats_as(tree, dtype):
    """`tree` with its floating-point arrays cast to `dtype`, all else as it is."""

    def leaf(a):
        floating = hasattr(a, "dtype") and jnp.issubdtype(a.dtype, jnp.floating)
        return jnp.asarray(a).astype(dtype) if floating else a

    return jax.tree.map(leaf, tree)


def cast_like(cotangents, arguments):
    """Give each cotangent the type of its argument: what JAX leaves to the rule.

    Inside `shard_map`, an argument may be the same on all devices and its cotangent not:
    copying, transposed, is adding up. An argument may be a `Like` of it.
    """
    return tuple(
        None if c is None else summed_over(c, varying(c) - varying(a)).astype(a.dtype)
        for c, a in zip(cotangents, arguments, strict=True)
    )


def summed_over(c, axes):
    return jax.lax.psum(c, tuple(axes)) if axes else c


def varying(a):
    """The axes of a mesh along which `a` differs, a frozenset."""
    if isinstance(a, Like):
        return a.varying
    # where JAX keeps this has changed before, and only shard_map needs it
    # (and of a description, `typeof` does not know in a mesh that is manual in part)
    known = a if isinstance(a, jax.ShapeDtypeStruct) else jax.typeof(a)
    kind = getattr(known, "manual_axis_type", None)
    return getattr(kind, "varying", frozenset())


def rows(x):
    """All axes but the last: those over which a per-feature cotangent is summed."""
    return tuple(range(x.ndim - 1))


def matrix(x):
    """All axes but the last in one.

    XLA:CPU would write an operand of a product out turned around that is summed over
    several axes.
    """
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1])


def contract(a, b, a_axes, b_axes, dtype=None, batch=((), ())):
    """Sum `a * b` over paired axes, in at least float32.

    The result has the batch axes (paired too, not summed), the remaining axes of `a`,
    then those of `b`, and `dtype`, by default the one that `a` and `b` promote to.
    """
    common = promote(a, b)
    product = jax.lax.dot_general(
        a.astype(common),
        b.astype(common),
        ((a_axes, b_axes), batch),
        preferred_element_type=accumulator(common),
    )
    return product.astype(dtype or common)


def empty_sum(shape, *arrays):
    """Zeros that products of `arrays` can be added to in a loop.

    They have the dtype that such sums have, and differ along the axes of a mesh, in
    `shard_map`, along which any of the arrays does.
    """
    zeros = jnp.zeros(shape, accumulator(promote(*arrays)))
    return vary(zeros, frozenset().union(*map(varying, arrays)))


def vary(a, axes):
    """Let `a`, the same on all devices, count as different along the axes of a mesh."""
    return jax.lax.pcast(a, tuple(axes), to="varying") if axes else a


def on_cpu(here, elsewhere, *arrays):
    """`here(*arrays)` on a CPU, and on other platforms `elsewhere(*arrays)`.

    Both compute the same, in an order that suits the platform which the program is
    compiled for, be it this machine's or not.
    """
    return jax.lax.platform_dependent(*arrays, cpu=here, default=elsewhere)


def once(f, shape, *arrays):
    """`f(*arrays)`, computed once on a CPU, however many loops read what it gives.

    XLA:CPU computes cheap things anew in each loop that reads them, and for every element,
    and a barrier does not last until then. What does is the branch of a condition: this
    one holds always, which a barrier hides from the compiler for as long as it would look.

    Args:
        f: a function of arrays, giving one or several.
        shape: of what reads it; if that is small, `f` is called as it is.
        arrays: its arguments.
    """
    explicit = jax.sharding.AxisType.Explicit in jax.sharding.get_abstract_mesh().axis_types
    if explicit or not _large(shape):  # both branches would have to be spread the same way
        return f(*arrays)
    found = jax.eval_shape(f, *arrays)

    def never(*arrays):
        # an argument, if one fits: zeros would be another loop to compile
        def like(a):
            for b in map(jnp.asarray, arrays):
                fits = (b.shape, b.dtype) == (a.shape, a.dtype)
                if fits and varying(b) <= varying(a):
                    return vary(b, varying(a) - varying(b))
            return vary(jnp.zeros(a.shape, a.dtype), varying(a))

        return jax.tree.map(like, found)

    always = jax.lax.optimization_barrier(jnp.asarray(True))
    return jax.lax.cond(always, f, never, *arrays)


@functools.partial(jax.jit, static_argnums=(0, 1), inline=True)
def apart(f, shape, *arrays):
    """`once` on a CPU, and on other platforms `f(*arrays)`."""
    if not _large(shape):
        return f(*arrays)
    return on_cpu(functools.partial(once, f, shape), f, *arrays)


def anew(x):
    """`x`, of which a CPU computes anew what else is computed of `x`, if it is huge.

    What is costly to compute, and read by two loops, XLA:CPU writes out between them. Only
    while caches hold it is that faster.
    """
    if not known(x.shape) or x.size < HUGE:
        return x
    return on_cpu(jax.lax.optimization_barrier, lambda x: x, x)


def _large(shape):
    return not known(shape) or math.prod(shape) >= LARGE


def known(shape):
    """Whether all sizes are numbers: a program may be exported for any."""
    return all(isinstance(n, int) for n in shape)


def unbroadcast(cotangent, shape):
    """Sum over the axes along which `shape` was broadcast: broadcasting, transposed."""
    extra = cotangent.ndim - len(shape)
    stretched = tuple(
        extra + i for i, n in enumerate(shape) if n == 1 and cotangent.shape[extra + i] != 1
    )
    summed = cotangent.sum((*range(extra), *stretched), keepdims=True)
    return summed.reshape(shape)


def log_normalizer(x, axis):
    """The largest element and `log(sum(exp(x - largest)))` along `axis`, both kept.

    Their sum is the log-sum-exp; rounded into one number it would lose the digits by
    which large elements differ. For a row of nothing but -inf both are 0, so that
    `exp(x - top - log_sum)` is 0 and never NaN.
    """
    top = jnp.max(x, axis, keepdims=True, initial=-jnp.inf)
    top = jax.lax.stop_gradient(jnp.where(jnp.isfinite(top), top, 0))
    total = jnp.exp(x - top).sum(axis, keepdims=True)
    return top, jnp.log(jnp.where(total == 0, 1, total))


def probabilities(labels, scores):
    """Labels as probabilities in the shape and dtype of `scores`; NaN out of range."""
    if not jnp.issubdtype(labels.dtype, jnp.integer):
        return labels.astype(scores.dtype)
    labels, known = in_range(labels, scores.shape[-1])
    return jnp.where(known, one_hot(labels, scores).astype(scores.dtype), jnp.nan)


def in_range(labels, classes):
    """Integer labels with an axis for their class, and whether there is one."""
    with jax.numpy_dtype_promotion("standard"):  # uint8 cannot count to 1000 classes
        labels = labels.astype(jnp.promote_types(labels.dtype, jnp.int32))[..., None]
    return labels, (labels >= 0) & (labels < classes)


def one_hot(labels, scores):
    """Which of the scores each label, with an axis for its class, is about."""
    return labels == jnp.arange(scores.shape[-1], dtype=labels.dtype)


@jax.tree_util.register_static
@dataclass(frozen=True)
class Like:
    """Shape and dtype of an argument, as a residual that holds no memory."""

    shape: tuple
    dtype: jnp.dtype
    varying: frozenset

    @classmethod
    def of(cls, x):
        """Remember what `x` looks like."""
        return cls(x.shape, x.dtype, varying(x))
