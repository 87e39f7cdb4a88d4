"""Patterns of a cotangent that is wrong as a whole, from the simplest on.

Each is a function of a `Case` that returns a few words, or None if the pattern does not
explain the discrepancy.
"""

import functools
import itertools
from collections.abc import Callable
from fractions import Fraction

import numpy as np

from funcnn.verify.faults._fault_case import Case, words

# What of a value may be a factor or a term.
FUNCTIONS: dict[str, Callable] = {
    "{}": lambda v: v,
    "1 - {}": lambda v: 1 - v,
    "{} squared": np.square,
    "1 - {} squared": lambda v: 1 - v**2,
    "the absolute value of {}": np.abs,
    "the square root of {}": np.sqrt,
    "exp({})": np.exp,
    "cos({})": np.cos,
    "cosh({})": np.cosh,
}


def zero(c: Case):
    """Nothing at all, or something in its place."""
    if not c.want.any():
        return "it should be zero"
    return None if c.got.any() else "it is zero"


def sign(c: Case):
    """The sign alone."""
    return "the sign is wrong" if c.explains(-c.want) else None


def other(c: Case):
    """Another argument's cotangent."""
    for name, (got, want) in c.others.items():
        if c.explains(want):
            if c.explains(got, c.want):
                return f"the cotangents of {c.name} and {name} are swapped"
            return f"it is that of {name}"
    return None


def passed(c: Case):
    """An output's cotangent itself."""
    for name, dy in c.dys.items():
        if c.explains(dy):
            return f"it is {name}, passed straight through"
        if c.explains(-dy):
            return f"it is {name}, passed through with its sign changed"
    return None


def moved(c: Case):
    """The right numbers in the wrong places."""
    every = range(len(c.shape))
    for order in itertools.permutations(every):
        if tuple(c.shape[a] for a in order) != c.shape:
            continue
        if c.explains(c.want.transpose(0, *(1 + a for a in order))):
            if len(every) == 2:
                return "it is transposed"
            return f"its axes are in the order {order}, should be {(*every,)}"
    for length in every:
        for axes in itertools.combinations(every, length + 1):
            if c.explains(np.flip(c.want, tuple(1 + a for a in axes))):
                return f"it is reversed along {words(axes)}"
    for a in every:
        got, want, known = (np.moveaxis(x, 1 + a, 1) for x in (c.got, c.want, c.known))
        for to, of in ((slice(1, None), slice(-1)), (slice(-1), slice(1, None))):
            part = c._replace(got=got[:, to], known=known[:, to])
            if c.shape[a] > 2 and part.explains(want[:, of]):
                return f"it is shifted by one along axis {a}"
    square = len(every) > 1 and c.shape[-1] == c.shape[-2]
    if square and c.explains((c.want + c.want.swapaxes(-1, -2)) / 2):
        return "it is made symmetric"
    return None


def levelled(c: Case):
    """The same along an axis that it should differ along."""
    for a, n in enumerate(c.shape, 1):
        mean = c.want.mean(a, keepdims=True)
        for text, guess in (("mean", mean), ("sum", n * mean)):
            if n > 1 and c.explains(guess + 0 * c.want):
                return f"each element is the {text} of those along axis {a - 1}"
    return None


def constant(c: Case):
    """A factor that has a name."""
    factor = c.factor(c.want)
    text = factor and c.called(factor)
    return f"a constant factor of {text}" if text else None


def elementwise(pattern):
    """The pattern, tried on some elements first if there are many."""

    @functools.wraps(pattern)
    def quick(c: Case):
        few = c.sample()
        return (few is c or pattern(few)) and pattern(c)

    return quick


@elementwise
def value(c: Case):
    """A factor too many, or missing, that is a value, or a function of one."""
    for (form, f), (name, v) in itertools.product(FUNCTIONS.items(), c.values.items()):
        v, text = f(v), form.format(name)
        for what, guess, goal in (
            (f"a factor of {text} is missing", c.got * v, c.want),
            (f"a factor of {text} too many", c.want * v, c.got),
        ):
            if c.explains(guess, goal):
                return what
            factor = c.factor(guess, goal)
            if factor and c.count > 3 and np.ptp(v) > 0 and (also := c.called(factor)):
                return f"{what}, beside a constant factor of {also}"
    return None


@elementwise
def slope(c: Case):
    """An output's cotangent times the wrong value."""
    for name, dy in c.dys.items():
        found = []
        for what in (c.got, c.want):
            found += [
                form.format(value)
                for form, f in FUNCTIONS.items()
                for value, v in c.values.items()
                if c.explains(dy * f(v), what)
            ][:1]
        if len(found) == 2:
            return f"it is {name} times {found[0]}, should be times {found[1]}"
    return None


def any_constant(c: Case):
    """A factor without a name."""
    factor = c.factor(c.want)
    if not factor or c.count < 3:
        return None
    if abs(factor - 1) < 1e-3:
        return f"a constant factor of 1 {'+-'[factor < 1]} {abs(factor - 1):.3g}"
    simple = Fraction(factor).limit_denominator(16)
    if abs(factor - simple) < 0.01 * c.tolerance:
        return f"a constant factor of {simple}"
    return f"a constant factor of {factor:.6g}"


def transposed_factor(c: Case):
    """A matrix that should be transposed, or the other way about."""
    for y, dy in c.all_dys.items():
        for name, v in c.all_values.items():
            if v.ndim != 2 or v.shape[0] != v.shape[1] or dy.ndim < 2:
                continue
            for a, b in ((v, v.T), (v.T, v)):
                for product in (_from_right, _from_left):
                    wrong, right = product(dy, a), product(dy, b)
                    if wrong is None or wrong.shape != c.got.shape:
                        continue
                    if c.explains(wrong / c.scale) and c.explains(right / c.scale, c.want):
                        how = (
                            "should be transposed" if a is v else "should not be transposed"
                        )
                        return f"{name}, by which {y} is multiplied, {how}"
    return None


def _from_right(dy, v):
    return dy @ v if dy.shape[-1] == len(v) else None


def _from_left(dy, v):
    if dy.ndim == 2:
        return dy @ v.T if dy.shape[-1] == len(v) else None
    return v @ dy if dy.shape[-2] == len(v) else None


def rounded(c: Case):
    """Numbers of another type."""
    for bits, name in ((8, "bfloat16"), (11, "float16"), (24, "float32")):
        if c.size < 64 * 2.0**-bits and _short(c.got * c.scale, bits):
            return None if _short(c.want * c.scale, bits) else f"it is rounded to {name}"
    return None


def _short(a, bits):
    mantissa = np.frexp(a)[0] * 2.0**bits
    return bool(a.any() and (mantissa == np.round(mantissa)).all())


def uneven(c: Case):
    """A factor that depends on the outputs' cotangent."""
    square = (c.want**2).reshape(len(c.want), -1).sum(1)
    products = (c.want * c.got).reshape(len(c.want), -1).sum(1)
    factors = products / np.where(square > 0, square, 1.0)
    if c.count < 3 or not c.explains(factors.reshape(c.scale.shape) * c.want):
        return None
    return "the factor differs between cotangents of the output: the rule is not linear"
