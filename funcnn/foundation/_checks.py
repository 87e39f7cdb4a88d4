"""Arguments made arrays and numbers, or an error that names the op and what it needs."""

import math
import operator

import jax.numpy as jnp


def float_arrays(op, *, optional=(), **arguments):
    """Return the arguments as arrays; those named in `optional` may be None.

    Raises:
        TypeError: if one is not an array of floating-point numbers.
    """
    arrays = []
    for name, a in arguments.items():
        if a is not None or name not in optional:
            a = as_array(op, name, a)
            if not jnp.issubdtype(a.dtype, jnp.floating):
                raise TypeError(
                    f"{op} needs {name} of a floating-point dtype; "
                    f"got {a.dtype} of shape {a.shape}."
                )
        arrays.append(a)
    return arrays


def as_array(op, name, a):
    """Return `a` as an array.

    Raises:
        TypeError: naming `op`, if it cannot be one.
    """
    if isinstance(a, list | tuple | str | dict | set) or a is None:
        raise TypeError(f"{op} needs {name} to be an array; got {type(a).__name__}.")
    try:
        return jnp.asarray(a)
    except TypeError as error:
        raise TypeError(
            f"{op} needs {name} to be an array; got {type(a).__name__}."
        ) from error


def boolean(op, name, value):
    """Check that `value` is a bool.

    Raises:
        TypeError: if it is not.
    """
    if not isinstance(value, bool):
        raise TypeError(f"{op} needs a bool for {name}; got {value!r}.")


def float_dtype(op, name, value):
    """Return `value` as a dtype.

    Raises:
        TypeError: if it is none, or not floating-point.
    """
    try:
        dtype = None if value is None else jnp.dtype(value)
    except TypeError:
        dtype = None
    if dtype is None or not jnp.issubdtype(dtype, jnp.floating):
        raise TypeError(f"{op} needs {name} that is floating-point; got {value!r}.")
    return dtype


def integer(op, name, value, minimum):
    """Return `value` as an int of at least `minimum`.

    Raises:
        TypeError: if it is not an integer.
        ValueError: if it is less than `minimum`.
    """
    try:
        if isinstance(value, bool):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{op} needs an integer {name}; got {value!r}.") from None
    if number < minimum:
        raise ValueError(f"{op} needs {name} of at least {minimum}; got {value}.")
    return number


def number(op, name, value, low=-math.inf, high=math.inf) -> float:
    """Return a static number in [low, high] as a Python float, which promotes nothing.

    Raises:
        TypeError: if it is not a number.
        ValueError: if it lies outside, or is NaN.
    """
    try:
        if isinstance(value, str):
            raise TypeError
        result = float(value)
    except TypeError:
        raise TypeError(f"{op} needs a number for {name}; got {value!r}.") from None
    if not low <= result <= high:
        interval = f"in [{low}, {high}]" if high < math.inf else f"of at least {low}"
        raise ValueError(f"{op} needs {name} {interval}; got {value}.")
    return result


def softcap(op, value) -> float | None:
    """Return the bound of a `softcap * tanh(x / softcap)` as a Python float, or None.

    Raises:
        TypeError: if it is neither a number nor None.
        ValueError: if it is not finite and above 0.
    """
    if value is None:
        return None
    bound = number(op, "softcap", value, low=0.0)
    if bound in (0, math.inf):
        raise ValueError(f"{op} needs a finite softcap above 0; got {bound}.")
    return bound


def axis(op, value, x):
    """Return an axis of `x` counted from the front.

    Raises:
        TypeError: if it is not an integer.
        ValueError: if `x` has no such axis.
    """
    number = integer(op, "axis", value, minimum=-math.inf)
    if not -x.ndim <= number < x.ndim:
        raise ValueError(f"{op} needs an axis of x of shape {x.shape}; got {value}.")
    return number % x.ndim


def classes(op, name, scores):
    """Check that there are classes to choose from.

    Raises:
        ValueError: if the last axis of `scores` has none, or one alone.
    """
    if not scores.shape or not scores.shape[-1]:
        raise ValueError(
            f"{op} needs {name} of shape (..., C) with C > 1; got {scores.shape}."
        )
    if scores.shape[-1] == 1:
        raise ValueError(
            f"{op} needs {name} of at least 2 classes; got shape {scores.shape}. Of one "
            "class the probability is always 1: for yes or no, use binary_cross_entropy, "
            "with a logit and a label an element."
        )


def as_labels(op, name, scores, labels):
    """Return labels as an array that fits `scores: (..., C)`.

    Raises:
        TypeError: if they are neither integers nor floating-point.
        ValueError: if `scores` has fewer than two classes, or the shape is not `(...)` for
            integers, `(..., C)` for probabilities.
    """
    labels = as_array(op, "labels", labels)
    classes(op, name, scores)
    if jnp.issubdtype(labels.dtype, jnp.integer):
        kind, needed = "integer labels", scores.shape[:-1]
    elif jnp.issubdtype(labels.dtype, jnp.floating):
        kind, needed = "label probabilities", scores.shape
    else:
        raise TypeError(
            f"{op} needs labels of an integer or float dtype; got {labels.dtype}."
        )
    if labels.shape != needed:
        raise ValueError(
            f"{op} needs {kind} of shape {needed} for {name} of shape {scores.shape}; "
            f"got {labels.shape}."
        )
    return labels


def ignored(op, value, labels) -> tuple[int, ...]:
    """Return the labels to ignore, an integer or several or None, as a tuple.

    Raises:
        TypeError: if one is not an integer, or labels are probabilities.
    """
    if value is None:
        return ()
    if not jnp.issubdtype(labels.dtype, jnp.integer):
        raise TypeError(
            f"{op} needs integer labels for ignore; got {labels.dtype}. Leave out examples "
            "of other labels by weights of 0."
        )
    several = value if isinstance(value, tuple | list | set | frozenset) else (value,)
    return tuple(integer(op, "ignore", v, minimum=-math.inf) for v in several)


def as_weights(op, value, shape):
    """Return weights of examples as a floating-point array, or None.

    Raises:
        TypeError: if they are no numbers.
        ValueError: if they are not of `shape`, that of the labels.
    """
    if value is None:
        return None
    weights = as_array(op, "weights", value)
    if not jnp.issubdtype(weights.dtype, jnp.floating):
        if not (weights.dtype == bool or jnp.issubdtype(weights.dtype, jnp.integer)):
            raise TypeError(f"{op} needs weights that are numbers; got {weights.dtype}.")
        weights = weights.astype(jnp.float32)
    if weights.shape != shape:
        raise ValueError(
            f"{op} needs weights of shape {shape}, one for each example; "
            f"got {weights.shape}."
        )
    return weights
