"""Metrics and a data set come in; a function of params goes out, that gives their means."""

import math
from collections.abc import Callable
from operator import itemgetter
from typing import Any

import chex
import jax
import jax.numpy as jnp

from funcnn.foundation._checks import integer
from funcnn.foundation._dtypes import accumulator
from funcnn.train.data._batches import examples


def evaluator(
    metrics: Callable[[Any, Any], dict[str, jax.Array]],
    data: Any,
    batch_size: int = 256,
) -> Callable[[chex.ArrayTree], dict[str, float]]:
    """Return a function that measures params on a data set.

        def metrics(params, batch):
            images, labels = batch
            logits = model.apply(params, images)  # without a key: deterministic
            return {
                "loss": ops.softmax_cross_entropy(logits, labels),
                "accuracy": logits.argmax(-1) == labels,
            }

        evaluate = train.evaluator(metrics, (test_images, test_labels))
        evaluate(state.params)["accuracy"]

    The means are exact: every example counts once. The last batch, where it is short, is
    filled up with examples that were counted before, and those are left out of its sum:
    all batches have one shape, and `metrics` is compiled once, at the first call.

    Args:
        metrics: `metrics(params, batch) -> dict` with one number or truth value per
            example, each of shape `(batch_size,)`.
        data: a pytree of arrays with equal leading axes, such as `(images, labels)`.
        batch_size: at least 1; more than the data holds means all at once.

    Returns:
        A function `params -> dict` of floats. Sums are taken in at least float32 within
        a batch, and in float64 over batches.

    Raises:
        TypeError: if `batch_size` is not an integer or, when called, `metrics` returns
            no dict.
        ValueError: if the arrays differ in length or, when called, a metric has not one
            number per example.
    """
    data, n = examples("evaluator", data)
    size = min(integer("evaluator", "batch_size", batch_size, minimum=1), n)

    @jax.jit
    def sums(params, batch, seen):
        values = metrics(params, batch)
        check(values, size)
        new = jnp.arange(size) >= seen

        def total(v):
            return jnp.sum(v, where=new, dtype=accumulator(v.dtype))

        return {name: total(v) for name, v in values.items()}

    def evaluate(params):
        parts = []
        for start in range(0, n, size):
            first = min(start, n - size)  # the last batch reaches back for its size
            batch = jax.tree.map(itemgetter(slice(first, first + size)), data)
            parts.append(sums(params, batch, start - first))
        parts = jax.device_get(parts)
        return {name: math.fsum(p[name] for p in parts) / n for name in parts[0]}

    return evaluate


def check(values, size):
    """Check that metrics are one number per example."""
    if not isinstance(values, dict):
        raise TypeError(
            f"evaluator needs metrics that return a dict; got {type(values).__name__}."
        )
    for name, v in values.items():
        if jnp.shape(v) != (size,):
            raise ValueError(
                f"evaluator needs one number per example, shape {(size,)}, of each "
                f"metric; got shape {jnp.shape(v)} of {name!r}."
            )
