"""JAX's operations by name, each as NumPy's arithmetic: arrays in, an array out.

What an operation makes of numbers is the same as XLA's but for the order of sums and the
last bits of functions such as the exponential. Where it might be more, as in conversions of
infinities to integers, the operation is missing here, and JAX runs it.
"""

import math
from collections.abc import Callable

import numpy as np

from funcnn.verify.programs._numpy_indexing import gather, scatter, scatter_add
from funcnn.verify.programs._numpy_windows import convolve, pad, sum_windows


def _integer_power(x, y):
    return x**y if y >= 0 else 1 / x**-y


def _square(x):
    return x * x


def _logistic(x):
    return 1 / (1 + np.exp(-x))


def _round(x, rounding_method):
    if int(rounding_method):  # to even
        return np.round(x)
    return np.copysign(np.floor(np.abs(x)) + (np.abs(x) % 1 >= 0.5), x)


ELEMENTWISE: dict[str, Callable] = {
    "abs": np.abs, "acos": np.arccos, "acosh": np.arccosh, "add": np.add,
    "add_any": np.add, "and": np.bitwise_and, "asin": np.arcsin, "asinh": np.arcsinh,
    "atan": np.arctan, "atan2": np.arctan2, "atanh": np.arctanh, "cbrt": np.cbrt,
    "ceil": np.ceil, "copy": np.asarray, "copy_p": np.asarray, "cos": np.cos,
    "cosh": np.cosh, "conj": np.conj, "eq": np.equal,
    "erf": np.vectorize(math.erf, [float]),
    "erfc": np.vectorize(math.erfc, [float]),
    "exp": np.exp, "exp2": np.exp2, "expm1": np.expm1, "floor": np.floor,
    "ge": np.greater_equal, "gt": np.greater, "imag": np.imag, "is_finite": np.isfinite,
    "le": np.less_equal, "log": np.log, "log1p": np.log1p,
    "logistic": _logistic, "lt": np.less, "max": np.maximum, "min": np.minimum,
    "mul": np.multiply, "ne": np.not_equal, "neg": np.negative, "not": np.invert,
    "one_minus_square": lambda x: 1 - x * x, "or": np.bitwise_or, "real": np.real,
    "rsqrt": lambda x: 1 / np.sqrt(x), "sign": np.sign, "sin": np.sin, "sinh": np.sinh,
    "sqrt": np.sqrt, "square": _square, "stop_gradient": np.asarray, "sub": np.subtract,
    "tan": np.tan, "tanh": np.tanh, "xor": np.bitwise_xor,
}  # fmt: skip


def _convert(x, p):
    inexact, new = x.dtype.kind in "fc", np.dtype(p["new_dtype"]).kind
    return None if inexact and new in "iu" else x.astype(p["new_dtype"])


def _quotient(a, b, p):
    return a / b if a.dtype.kind in "fc" else None


def _power(a, b, p):
    return a**b if a.dtype.kind == b.dtype.kind == "f" else None


def _remainder(a, b, p):
    return np.fmod(a, b) if a.dtype.kind == "f" else None


def _extreme(ufunc):
    def reduce(x, p):
        # of nothing: JAX knows what
        return ufunc.reduce(x, p["axes"]) if x.size else None

    return reduce


def _broadcast(x, p):
    shape = [1] * len(p["shape"])
    for axis, size in zip(p["broadcast_dimensions"], x.shape, strict=True):
        shape[axis] = size
    return np.broadcast_to(x.reshape(shape), p["shape"])


def _reshape(x, p):
    x = x if p["dimensions"] is None else x.transpose(p["dimensions"])
    return x.reshape(p["new_sizes"])


def _slice(x, p):
    strides = p["strides"] or (None,) * x.ndim
    bounds = zip(p["start_indices"], p["limit_indices"], strides, strict=True)
    return x[tuple(slice(*bound) for bound in bounds)]


def _starts(x, starts, sizes):
    clamped = (
        max(0, min(int(i), n - k)) for i, n, k in zip(starts, x.shape, sizes, strict=True)
    )
    return tuple(slice(i, i + k) for i, k in zip(clamped, sizes, strict=True))


def _dynamic_slice(x, *starts, p):
    return x[_starts(x, starts, p["slice_sizes"])]


def _dynamic_update_slice(x, update, *starts):
    y = np.array(x)
    y[_starts(x, starts, update.shape)] = update
    return y


def _dot(a, b, p):
    (a_axes, b_axes), (a_batch, b_batch) = p["dimension_numbers"]
    batch = [a.shape[i] for i in a_batch]
    a_free = [i for i in range(a.ndim) if i not in (*a_axes, *a_batch)]
    b_free = [i for i in range(b.ndim) if i not in (*b_axes, *b_batch)]
    terms = math.prod(a.shape[i] for i in a_axes)
    rows, columns = [a.shape[i] for i in a_free], [b.shape[i] for i in b_free]
    a = a.transpose((*a_batch, *a_free, *a_axes)).reshape(*batch, math.prod(rows), terms)
    b = b.transpose((*b_batch, *b_axes, *b_free))
    b = b.reshape(*batch, terms, math.prod(columns))
    return (a @ b).reshape((*batch, *rows, *columns))


def _iota(p):
    shape = [1] * len(p["shape"])
    shape[p["dimension"]] = -1
    numbers = np.arange(p["shape"][p["dimension"]]).astype(p["dtype"])
    return np.broadcast_to(numbers.reshape(shape), p["shape"])


def _running(ufunc):
    def run(x, p):
        order = [slice(None)] * x.ndim
        if p["reverse"]:
            order[p["axis"]] = slice(None, None, -1)
        return ufunc.accumulate(x[tuple(order)], p["axis"])[tuple(order)]

    return run


def _clamp(low, x, high):
    return np.minimum(np.maximum(x, low), high)


def _choose(which, *cases):
    if which.dtype != bool:
        return np.choose(which, cases) if which.ndim else cases[int(which)]
    return np.where(which, cases[-1], cases[0])


def _split(x, p):
    return np.split(x, np.cumsum(p["sizes"])[:-1], p["axis"])


def _unstack(x, p):
    return list(np.moveaxis(x, p["axis"], 0))


# Of the operands and the operation's parameters: an array or a list of several, or None
# for JAX to run it.
STRUCTURAL: dict[str, Callable] = {
    "argmax": lambda x, p: np.argmax(x, p["axes"][0]),
    "argmin": lambda x, p: np.argmin(x, p["axes"][0]),
    "broadcast_in_dim": _broadcast,
    "clamp": lambda low, x, high, p: _clamp(low, x, high),
    "concatenate": lambda *xs, p: np.concatenate(xs, p["dimension"]),
    "conv_general_dilated": convolve,
    "convert_element_type": _convert,
    "cumsum": _running(np.add),
    "cumprod": _running(np.multiply),
    "div": _quotient,
    "dot_general": _dot,
    "dynamic_slice": _dynamic_slice,
    "dynamic_update_slice": lambda x, update, *starts, p: _dynamic_update_slice(
        x, update, *starts
    ),
    "expand_dims": lambda x, p: np.expand_dims(x, p["dimensions"]),
    "gather": gather,
    "integer_pow": lambda x, p: _integer_power(x, p["y"]),
    "iota": _iota,
    "optimization_barrier": lambda *xs, p: list(xs),
    "pad": pad,
    "pow": _power,
    "reduce_and": lambda x, p: np.all(x, p["axes"]),
    "reduce_max": _extreme(np.maximum),
    "reduce_min": _extreme(np.minimum),
    "reduce_or": lambda x, p: np.any(x, p["axes"]),
    "reduce_prod": lambda x, p: np.prod(x, p["axes"]),
    "reduce_sum": lambda x, p: np.sum(x, p["axes"]),
    "rem": _remainder,
    "reduce_window_sum": sum_windows,
    "reshape": _reshape,
    "rev": lambda x, p: np.flip(x, p["dimensions"]),
    "round": lambda x, p: _round(x, p["rounding_method"]),
    "scatter": scatter,
    "scatter-add": scatter_add,
    "select_n": lambda which, *cases, p: _choose(which, *cases),
    "slice": _slice,
    "split": _split,
    "squeeze": lambda x, p: np.squeeze(x, p["dimensions"]),
    "stack": lambda *xs, p: np.stack(xs, p["axis"]),
    "transpose": lambda x, p: x.transpose(p["permutation"]),
    "unstack": _unstack,
}
