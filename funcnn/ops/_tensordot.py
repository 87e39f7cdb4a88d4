r"""Sum of products over chosen pairs of axes.

**Forward.** Write $a[f, c]$ with $f$ its free axes and $c$ the contracted ones in the order
given, and $b[c, g]$ likewise:

$$y[f, g] = \sum_c a[f, c]\; b[c, g].$$

**Backward.** As for a matrix product, $\dot y = \dot a\,b + a\,\dot b$ gives

$$\bar a[f, c] = \sum_g \bar y[f, g]\; b[c, g], \qquad
\bar b[c, g] = \sum_f a[f, c]\; \bar y[f, g],$$

after which the axes go back to where each argument has them.

**Residuals.** $a$ and $b$: both are inputs, so nothing new is stored.
"""

from functools import partial

import jax
import jax.numpy as jnp

from funcnn.foundation._checks import float_arrays, integer
from funcnn.foundation._cotangents import cast_like
from funcnn.foundation._custom_vjp import custom_vjp
from funcnn.foundation._products import contract


@partial(custom_vjp, nondiff_argnums=(2,))
def tensordot(a: jax.Array, b: jax.Array, axes=2) -> jax.Array:
    """Contract axes of `a` with axes of `b`, as `numpy.tensordot`.

    Args:
        a: any shape.
        b: any shape.
        axes: an int n, for the last n axes of `a` with the first n of `b` in order; or a
            pair of axes, or of sequences of axes, of `a` and of `b`.

    Returns:
        The free axes of `a`, then those of `b`, of the dtype that the arguments promote
        to; sums are taken in at least float32.

    Raises:
        TypeError: if an argument is not a floating-point array or an axis not an integer.
        ValueError: if the axes do not exist, repeat, or differ in length.
    """
    return tensordot_fwd(a, b, axes)[0]


def tensordot_fwd(a, b, axes):
    a, b = float_arrays("tensordot", a=a, b=b)
    a_axes, b_axes = contracted_axes(a.shape, b.shape, axes)
    return contract(a, b, a_axes, b_axes), (a, b)


def tensordot_bwd(axes, residuals, dy):
    a, b = residuals
    a_axes, b_axes = contracted_axes(a.shape, b.shape, axes)
    a_free = tuple(i for i in range(a.ndim) if i not in a_axes)
    b_free = tuple(i for i in range(b.ndim) if i not in b_axes)
    from_a = tuple(range(len(a_free)))
    from_b = tuple(range(len(a_free), dy.ndim))
    # A product leaves b's contracted axes in b's order; their partners in a follow.
    a_partners = [i for _, i in sorted(zip(b_axes, a_axes, strict=True))]
    b_partners = [i for _, i in sorted(zip(a_axes, b_axes, strict=True))]
    da = contract(dy, b, from_b, b_free, a.dtype)
    db = contract(a, dy, a_free, from_a, b.dtype)
    da = jnp.moveaxis(da, range(a.ndim), (*a_free, *a_partners))
    db = jnp.moveaxis(db, range(b.ndim), (*b_partners, *b_free))
    return cast_like((da, db), residuals)


tensordot.defvjp(tensordot_fwd, tensordot_bwd)


def contracted_axes(a_shape, b_shape, axes):
    """The paired axes, counted from the front."""
    if isinstance(axes, tuple | list):
        if len(axes) != 2:
            raise ValueError(f"tensordot needs axes for a and for b, a pair; got {axes}.")
        pair = [tuple(s) if isinstance(s, tuple | list) else (s,) for s in axes]
    else:
        n = integer("tensordot", "axes", axes, minimum=0)
        pair = [tuple(range(-n, 0)), tuple(range(n))]
    found = []
    for name, shape, chosen in zip("ab", (a_shape, b_shape), pair, strict=True):
        rank = len(shape)
        numbers = [integer("tensordot", "axes", i, minimum=-rank) for i in chosen]
        if any(i >= rank for i in numbers) or len({i % rank for i in numbers}) < len(
            numbers
        ):
            raise ValueError(
                f"tensordot needs different axes of {name} of shape {shape}; got {chosen}."
            )
        found.append(tuple(i % rank for i in numbers))
    a_axes, b_axes = found
    if [a_shape[i] for i in a_axes] != [b_shape[i] for i in b_axes]:
        raise ValueError(
            f"tensordot needs axes of equal lengths; got a {a_shape} over {a_axes} and "
            f"b {b_shape} over {b_axes}."
        )
    return a_axes, b_axes


def tensordot_reference(a, b, axes=2):
    """The definition, left to `jax.grad`: all products, then a sum."""
    if not isinstance(axes, tuple | list):
        axes = (range(a.ndim - axes, a.ndim), range(axes))
    pairs = [(s,) if isinstance(s, int) else s for s in axes]
    a_axes, b_axes = (
        [i % r for i in s] for s, r in zip(pairs, (a.ndim, b.ndim), strict=True)
    )
    a = jnp.moveaxis(a, a_axes, range(a.ndim - len(a_axes), a.ndim))
    b = jnp.moveaxis(b, b_axes, range(len(b_axes)))
    free, over = a.ndim - len(a_axes), len(a_axes)
    terms = a.reshape(a.shape + (1,) * (b.ndim - over)) * b
    return terms.sum(tuple(range(free, free + over)))


def tensordot_cases(rng):
    """Arguments on which every claim is tested."""
    normal = rng.standard_normal
    return {
        "matrix product": (normal((3, 4)), normal((4, 2)), 1),
        "two axes": (normal((2, 3, 4)), normal((3, 4, 5))),
        "outer": (normal((2, 3)), normal(4), 0),
        "crossed axes": (normal((2, 3, 4)), normal((4, 5, 2)), ((0, 2), (2, 0))),
        "three crossed": (normal((2, 3, 4, 2)), normal((4, 2, 2)), ((2, 0, 3), (0, 2, 1))),
        "negative axes": (normal((2, 3, 4)), normal((5, 3)), ((-2,), (-1,))),
        "one axis each": (normal((2, 3)), normal((2, 4)), (0, 0)),
        "everything": (normal((2, 3)), normal((2, 3)), 2),
        "empty": (normal((0, 3)), normal((3, 2)), 1),
    }
