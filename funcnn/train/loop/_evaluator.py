"""Metrics and a data set come in; a function of params goes out, that gives their means."""

import math
from collections.abc import Callable
from operator import itemgetter
from typing import Any

import chex
import jax
import jax.numpy as jnp

from funcnn.foundation._checks import integer
from funcnn.foundation._dtypes import accumulator, upcast
from funcnn.losses import Average
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

    Where not all examples count alike, as with `ignore` or `weights`, a metric is a
    `losses.Average`, such as `losses.accuracy(logits, labels, ignore=-1, parts=True)`; then
    totals and counts are added up over batches. It is of a whole batch, so a short last
    batch is compiled by itself.

    Args:
        metrics: `metrics(params, batch) -> dict` with one number or truth value per
            example, each of shape `(batch_size,)`, or with averages of the batch.
        data: a pytree of arrays with equal leading axes, such as `(images, labels)`.
        batch_size: at least 1; more than the data holds means all at once.

    Returns:
        A function `params -> dict` of floats. Sums are taken in at least float32 within
        a batch, and in float64 over batches.

    Raises:
        TypeError: if `batch_size` is not an integer or, when called, `metrics` returns
            no dict.
        ValueError: if the arrays differ in length or, when called, a metric has not one
            number per example and is no `Average`.
    """
    data, n = examples("evaluator", data)
    size = min(integer("evaluator", "batch_size", batch_size, minimum=1), n)

    whole: list[bool] = []  # whether a metric is of a whole batch, once that was traced

    @jax.jit
    def sums(params, batch, seen):
        values = metrics(params, batch)
        length = len(jax.tree.leaves(batch)[0])
        check(values, length)
        whole[:] = [any(isinstance(v, Average) for v in values.values())]
        new = jnp.arange(length) >= seen

        def total(v):
            if isinstance(v, Average):
                return Average(*map(upcast, map(jnp.asarray, v)))
            return Average(jnp.sum(v, where=new, dtype=accumulator(v.dtype)), new.sum())

        return {name: total(v) for name, v in values.items()}

    def evaluate(params):
        parts: list[dict] = []
        for start in range(0, n, size):
            # the last batch reaches back for its size, unless an average is of all of it
            first = start if any(whole) else min(start, n - size)
            batch = jax.tree.map(itemgetter(slice(first, first + size)), data)
            parts.append(sums(params, batch, start - first))
        parts = jax.device_get(parts)
        return {name: mean(p[name] for p in parts) for name in parts[0]}

    def named(params):
        """What is measured, found out without measuring."""
        batch = jax.tree.map(itemgetter(slice(size)), data)
        return list(jax.eval_shape(metrics, params, batch))

    vars(evaluate)["named"] = named
    return evaluate


def mean(parts):
    """The quotient of the sums of totals and of counts, in float64; 0 of nothing."""
    totals, counts = zip(*parts, strict=True)
    return math.fsum(totals) / (math.fsum(counts) or 1.0)


def check(values, size):
    """Check that metrics are one number per example."""
    if not isinstance(values, dict):
        raise TypeError(
            f"evaluator needs metrics that return a dict; got {type(values).__name__}."
        )
    for name, v in values.items():
        if isinstance(v, Average):
            if any(map(jnp.shape, v)):
                raise ValueError(
                    f"evaluator needs an Average of scalars; got shapes "
                    f"{tuple(map(jnp.shape, v))} of {name!r}."
                )
        elif jnp.shape(v) != (size,):
            raise ValueError(
                f"evaluator needs one number per example, shape {(size,)}, of each "
                f"metric; got shape {jnp.shape(v)} of {name!r}."
            )
