"""Cotangents brought to what JAX expects of a rule: dtype, shape, mesh axes."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp


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


def vary(a, axes):
    """Let `a`, the same on all devices, count as different along the axes of a mesh."""
    return jax.lax.pcast(a, tuple(axes), to="varying") if axes else a


def unbroadcast(cotangent, shape):
    """Sum over the axes along which `shape` was broadcast: broadcasting, transposed."""
    extra = cotangent.ndim - len(shape)
    stretched = tuple(
        extra + i for i, n in enumerate(shape) if n == 1 and cotangent.shape[extra + i] != 1
    )
    summed = cotangent.sum((*range(extra), *stretched), keepdims=True)
    return summed.reshape(shape)


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
