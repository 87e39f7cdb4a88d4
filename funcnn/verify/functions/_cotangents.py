"""Outputs in, random cotangents for them out; and a function's own, for those."""

import jax
import numpy as np


def cotangents(outputs, seed, given=None) -> list[np.ndarray]:
    """Nine cotangents for `outputs`, along a new first axis, none of them constant.

    `KINDS` says what they are. Those in `ROUNDED` are numbers of the dtypes of `given`, so
    that a run in those is given the same ones.
    """
    rng = stream(seed, "cotangents")
    total = sum(y.size for y in outputs)
    chosen = rng.integers(total) if total else 0
    found, start = [], 0
    for y, low in zip(outputs, given or outputs, strict=True):
        sparse = rng.uniform(size=y.shape) < 0.1
        sparse.reshape(-1)[rng.integers(max(y.size, 1)) : y.size][:1] = True
        single = (np.arange(start, start + y.size) == chosen).reshape(y.shape)
        wide = 10 ** rng.uniform(-2, 2, y.shape)
        dense, sized, few, one, shifted, large, small = rng.standard_normal((7, *y.shape))
        dense, few, shifted = (
            np.asarray(np.asarray(a, low.dtype), float)
            for a in (dense, few, 1.5 + np.tanh(shifted))
        )
        sized, mixed = wide * sized, COMBINATION[0] * dense + COMBINATION[1] * wide * sized
        rows = [dense, sized, few * sparse, one * single, mixed, 0 * mixed]
        rows += [shifted, 1e6 * large, 1e-9 * small]
        with np.errstate(over="ignore"):  # float16 ends before a million
            found.append(np.asarray(rows, y.dtype))
        start += y.size
    return found


KINDS = (
    "dense",
    "of many sizes",
    "zero but for a tenth",
    "zero but for one number",
    "a combination of others",
    "zero",
    "positive",
    "large",
    "small",
)
POSITIVE = 6
SMALL = 8
ROUNDED = (0, 2, POSITIVE)
COMBINATION = (1.75, -0.625)


def stream(seed, purpose):
    """Random numbers that no argument made from the same seed shares."""
    return np.random.default_rng([seed, *purpose.encode()])


def pullback(f, leaves, dys):
    """The cotangents of `leaves` for cotangents `dys` of the outputs of `f`."""
    return list(jax.vjp(f, *leaves)[1](list(dys)))
