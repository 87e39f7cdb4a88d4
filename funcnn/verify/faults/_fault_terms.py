"""Patterns of a cotangent that is the sum of wrong terms, or lacks one."""

import itertools
import math

import numpy as np

from funcnn.verify.faults._fault_case import Case, words
from funcnn.verify.faults._fault_whole import FUNCTIONS


def not_summed(c: Case):
    """What one entry of an axis contributes, or the sum over another axis."""
    for y, dy in c.all_dys.items():
        for terms in _products(dy, list(c.all_values.values())):
            every = _axes(terms)
            sums = {
                axes: terms.sum(axes, keepdims=True)
                for length in every
                for axes in itertools.combinations(every, length)
                if math.prod(n for a, n in enumerate(terms.shape) if a not in axes)
                == c.got.size
            }
            for axes, total in sums.items():
                if not c.explains(total.reshape(c.got.shape) / c.scale, c.want):
                    continue
                over = words(tuple(a - 1 for a in axes))
                for other, wrong in sums.items():
                    if c.explains(wrong.reshape(c.got.shape) / c.scale):
                        instead = words(tuple(a - 1 for a in other))
                        return f"{y} is summed over {instead}, should be over {over}"
                for a in axes:
                    part = terms.sum(tuple({*axes} - {a}), keepdims=True)
                    for end, which in ((0, "first"), (-1, "last")):
                        entry = part.take([end], a).reshape(c.got.shape)
                        if c.explains(entry / c.scale):
                            return (
                                f"{y} is not summed over axis {a - 1}: this is what the "
                                f"{which} entry contributes"
                            )
    return None


def _products(dy, values):
    """What sums may be made of: the output's cotangent, and its products with values."""
    yield dy
    for v in values:
        if v.ndim < dy.ndim and v.shape == dy.shape[dy.ndim - v.ndim :] and v.ndim:
            yield dy * v
        outer = 1 < v.ndim == dy.ndim - 1 and v.shape[:-1] == dy.shape[1:-1]
        if outer and dy.size * v.shape[-1] < 1e7:
            yield v[..., :, None] * dy[..., None, :]


def of_outputs(c: Case):
    """The share of one of several outputs, or of two exchanged."""
    names = list(c.dys)
    if len(c.all_dys) < 2:
        return None
    if len(names) == len(c.all_dys) and c.got[0].size <= 20_000:
        wide = [
            np.broadcast_to(dy, c.got.shape).reshape(len(dy), -1) for dy in c.dys.values()
        ]
        given = np.stack(wide).transpose(2, 1, 0)
        inverse = np.linalg.pinv(given)
        shares = [inverse @ a.reshape(len(a), -1).T[..., None] for a in (c.got, c.want)]
        again = [(given @ u)[..., 0].T.reshape(c.got.shape) for u in shares]
        spare = (np.abs(given) > 1e-6).any(-1).sum(-1).min() > len(names) + 1
        if spare and c.explains(again[0]) and c.explains(again[1], c.want):
            return _compare_shares(c, names, *(u[..., 0] for u in shares))
    rest = c.want - c.got
    for name, dy in c.dys.items():
        square = (dy**2).sum(0)
        share = (rest * dy).sum(0) / np.where(square > 0, square, 1.0)
        several = ((np.abs(dy) > 1e-6).sum(0) > 2) & (square > 0)
        if several.all() and c.explains(dy * share, rest):
            return f"the part of {name} is missing or wrong"
    return None


def _compare_shares(c, names, got, want):
    largest = np.abs(want).max(initial=0.0)

    def same(a, b):
        return np.allclose(a, b, rtol=1e-5, atol=1e-8 * largest)

    for i, name in enumerate(names):
        if same(got[:, i], 0.0) and not same(want[:, i], 0.0):
            return f"{name} is ignored"
    for i, j in itertools.combinations(range(len(names)), 2):
        if same(got[:, i], want[:, j]) and same(got[:, j], want[:, i]):
            return f"{names[i]} and {names[j]} are swapped"
    wrong = [n for i, n in enumerate(names) if not same(got[:, i], want[:, i])]
    return f"the part of {wrong[0]} is wrong" if len(wrong) == 1 else None


def term(c: Case):
    """A term that is constant, or proportional to a value, along some axes."""
    if not c.known.all():
        return None
    for name, dy in c.dys.items():
        if c.explains(dy, c.want - c.got):
            return f"{name} is to be added"
        if c.explains(dy, c.got - c.want):
            return f"{name} is added and should not be"
    every = _axes(c.got)
    groups = [
        (axes, length == len(every), f"along {words(tuple(a - 1 for a in axes))}")
        for length in reversed(every)
        for axes in itertools.combinations(every, length)
    ]
    given = [*c.dys.items(), *c.values.items()]
    for axes, all_axes, along in groups:
        if _lacks(c, axes, np.ones(())):
            if all_axes:
                return "a constant term is missing or wrong"
            return f"a term that is constant {along} is missing or wrong, as of a mean"
    pairs = [
        (f"the product of {a} and {b}", v * w)
        for (a, v), (b, w) in itertools.combinations(given[:6], 2)
    ]
    for (form, f), (axes, all_axes, along) in itertools.product(FUNCTIONS.items(), groups):
        for name, v in [*given, *(pairs if form == "{}" else ())]:
            if _lacks(c, axes, v, f):
                what = f"a term proportional to {form.format(name)} is missing or wrong"
                if all_axes:
                    return what
                return f"{what}, in each row {along}, as of a mean of products"
    for (axes, _, along), (name, v) in itertools.product(groups, given):
        if _lacks(c, axes, v, beside_constant=True):
            return (
                f"terms constant and proportional to {name} {along} are missing or wrong, "
                "as of a mean and a variance"
            )
    return None


def _lacks(c, axes, v, f=np.asarray, beside_constant=False):
    """Whether what is missing is a multiple of `f(v)` along `axes`, another for each row.

    The numbers fitted must be fewer than those they explain, and the right cotangent no
    such multiple itself.
    """

    def rest(a, v):
        if beside_constant:
            a, v = (b - b.mean(axes, keepdims=True) for b in (a, v))
        square = (v**2).sum(axes, keepdims=True)
        share = (a * v).sum(axes, keepdims=True) / np.where(square > 0, square, 1.0)
        return a - share * v

    v = np.broadcast_to(v, c.got.shape)
    worst = np.abs(c.want - c.got).reshape(len(v), -1).max(1).argmax()
    few = (slice(worst, worst + 1), *(slice(None if a in axes else 3) for a in _axes(v)))
    for part in (few, ...):  # a quick look first
        missing = rest(c.want[part] - c.got[part], f(v[part]))
        if not np.abs(missing).max() <= c.tolerance * c.size:
            return False
    v = f(v)
    fitted = 1 + beside_constant
    heavy = np.abs(v) > 1e-3 * np.abs(v).max(axes, keepdims=True)
    count = heavy.sum(axes).max(0).min(initial=v.size)
    if count <= fitted or (count - fitted) * (c.got[0].size // count) < 3:
        return False
    return bool(np.abs(rest(c.want, v)).max() > 1e-3 * np.abs(c.want).max())


def _axes(a):
    return range(1, a.ndim)
