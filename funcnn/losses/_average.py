"""Losses of examples come in; their mean goes out, divided or not yet."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from funcnn.foundation._checks import ignored
from funcnn.foundation._dtypes import accumulator, divisor
from funcnn.kernels._labels import counted, weighted


class Average(NamedTuple):
    """A mean that has not been divided yet: what is added up, and over how many.

    Of parts, totals are added, and counts, as `jax.lax.psum(average, axis)` does in
    `jax.shard_map`; the quotient is that of the whole.

    Attributes:
        total: shape `()`.
        count: the number of examples that count, or the sum of their weights; shape `()`.
    """

    total: jax.Array
    count: jax.Array  # type: ignore[assignment]  # a tuple's method is of no use here

    @property
    def value(self) -> jax.Array:
        """The mean; 0 if nothing counts."""
        return self.total / jnp.where(self.count == 0, 1, self.count)


def several(ignore):
    """A tuple, which an op holds fixed, in place of a list or a set."""
    return tuple(ignore) if isinstance(ignore, list | set | frozenset) else ignore


def mean(name, each, labels, ignore, weights, parts):
    """The mean of what losses give, weighted already and 0 where examples do not count."""
    dtype = accumulator(each.dtype)
    if weights is None and (ignore is None or ignore == ()):
        count = jnp.asarray(divisor(each.size), dtype)
    else:
        labels = jnp.asarray(labels)
        keep = counted(labels, ignored(name, ignore, labels) if ignore else ())
        ones = jnp.ones(each.shape, dtype)
        count = weighted(ones, keep, None if weights is None else jnp.asarray(weights))
        count = count.sum()
    average = Average(each.sum(), count)
    return average if parts else average.value
