"""What a fault's pattern is sought in: one argument's cotangents, and what is near."""

import itertools
import math
from fractions import Fraction
from typing import NamedTuple

import numpy as np

ROOTS = {
    "pi": math.pi,
    "2 pi": 2 * math.pi,
    "sqrt(2)": 2**0.5,
    "sqrt(pi)": math.pi**0.5,
    "sqrt(2 pi)": (2 * math.pi) ** 0.5,
    "log(2)": math.log(2),
}


class Case(NamedTuple):
    """The cotangents of one argument, by the rule and right.

    Arrays have a first axis for the outputs' cotangents, then the argument's axes, or
    broadcast to that. For each of the outputs' cotangents they are divided by `scale`, the
    next power of two above the elements of `got` and `want`. Where either of those is not
    finite, `known` is false and both are 0.
    """

    name: str
    got: np.ndarray
    want: np.ndarray
    known: np.ndarray
    scale: np.ndarray
    size: float  # of the largest discrepancy
    tolerance: float
    values: dict  # of arguments and outputs that broadcast against the argument
    dys: dict  # the same of the outputs' cotangents
    others: dict  # the cotangents, by the rule and right, of arguments of the same shape
    all_values: dict
    all_dys: dict  # not divided by the scale

    @classmethod
    def of(cls, got, want, leaf, names, values, dys, tolerance):
        """Gather it from the arguments of `likely_fault`."""
        g, w = (np.asarray(a[leaf], np.float64) for a in (got, want))
        known = np.isfinite(g) & np.isfinite(w)
        g, w = (np.where(known, a, 0.0) for a in (g, w))
        axes = tuple(range(1, g.ndim))
        scale = np.maximum(abs(g), abs(w)).max(axes, keepdims=True, initial=0.0)
        scale = np.exp2(np.frexp(scale)[1])
        g, w = g / scale, w / scale
        values = {k: np.asarray(v, np.float64) for k, v in values.items()}
        outputs = list(values)[len(names) :]
        if len(outputs) != len(dys):
            outputs = [f"output {i}" for i in range(len(dys))]
        dys = {
            f"the cotangent of {y}": np.asarray(dy, np.float64)
            for y, dy in zip(outputs, dys, strict=True)
        }
        near = {k: _aligned(v[None], g.shape[1:]) for k, v in values.items()}
        along = {k: _aligned(dy, g.shape[1:]) for k, dy in dys.items()}
        others = {
            name: [np.asarray(a[i], np.float64) / scale for a in (got, want)]
            for i, name in enumerate(names)
            if i != leaf and np.shape(got[i]) == g.shape
        }
        return cls(
            names[leaf], g, w, known, scale, float(abs(g - w).max(initial=0.0)), tolerance,
            {k: v for k, v in near.items() if v is not None},
            {k: dy / scale for k, dy in along.items() if dy is not None},
            others, values, dys,
        )  # fmt: skip

    @property
    def shape(self):
        """The argument's shape."""
        return self.got.shape[1:]

    @property
    def count(self):
        """How many elements are not always zero."""
        return int((self.got.any(0) | self.want.any(0)).sum())

    def explains(self, guess, what=None) -> bool:
        """Whether `guess` is what the rule computes (or `what`), up to rounding."""
        what = self.got if what is None else what
        allowed = self.tolerance * min(self.size, np.abs(what).max(initial=0.0))
        return bool((np.where(self.known, np.abs(guess - what), 0.0) <= allowed).all())

    def at(self, chosen):
        """The case of some elements alone."""

        def pick(a):
            return np.broadcast_to(a, (len(a), *chosen.shape))[:, chosen]

        scale = self.scale.reshape(-1, 1)
        got, want, known = map(pick, (self.got, self.want, self.known))
        values, dys = ({k: pick(v) for k, v in d.items()} for d in (self.values, self.dys))
        others = {k: list(map(pick, pair)) for k, pair in self.others.items()}
        return self._replace(
            got=got, want=want, known=known, scale=scale,
            values=values, dys=dys, others=others,
        )  # fmt: skip

    def sample(self):
        """The case of some elements of very many, the worst among them."""
        size = self.got[0].size
        if size < 5000:
            return self
        chosen = np.zeros(size, bool)
        chosen[:: size // 1000] = True
        chosen[np.abs(self.got - self.want).max(0).argmax()] = True
        return self.at(chosen.reshape(self.shape))

    def factor(self, guess, what=None):
        """The number that turns `guess` into what the rule computes, or None."""
        what = self.got if what is None else what
        square = np.vdot(guess, guess)
        factor = float(np.vdot(guess, what) / square) if square > 0 else 0.0
        return factor if factor and self.explains(factor * guess, what) else None

    def called(self, factor):
        """A name for a factor, or None."""
        size = abs(factor)

        def near(value):
            return abs(size - value) <= self.tolerance * min(abs(size - 1), value)

        minus = "-" * (factor < 0)
        sizes = _sizes(self.name, self.all_values)
        for n, what in sizes.items():
            for form, number in (("{}", n), ("1/{}", 1 / n)):
                if near(number):
                    return f"{minus}{form.format(n)}, {n} being {what}"
        simple = Fraction(size).limit_denominator(4)
        texts = [str(simple)] * (near(float(simple)) and simple.numerator <= 4)
        for text, number in ROOTS.items():
            texts += [text] * near(number) + [f"1/{text}"] * near(1 / number)
        for n, what in sizes.items():
            roots = (("sqrt({})", n**0.5), ("1/sqrt({})", n**-0.5))
            unbiased = (("({0} - 1)/{0}", (n - 1) / n), ("{0}/({0} - 1)", n / (n - 1)))
            doubled = (("2 * {}", 2 * n), ("2/{}", 2 / n), ("1/(2 * {})", 0.5 / n))
            for form, number in (*roots, *unbiased, *(() if texts else doubled)):
                if near(number):
                    texts.append(f"{form.format(n)}, {n} being {what}")
                    return " or ".join(minus + text for text in texts)
        return minus + texts[0] if texts else None


def words(axes) -> str:
    """Axes in words."""
    if len(axes) == 1:
        return f"axis {axes[0]}"
    return f"axes {', '.join(map(str, axes[:-1]))} and {axes[-1]}"


def _aligned(v, shape):
    """`v` against an argument of `shape`, by its last axes or else by its first."""
    for tail in ((), (1,) * (len(shape) + 1 - v.ndim)):
        own = (*v.shape[1:], *tail)
        lead = (1,) * (len(shape) - len(own))
        pairs = zip((*lead, *own), shape, strict=False)
        if len(own) <= len(shape) and all(n in (1, m) for n, m in pairs):
            return v.reshape(len(v), *lead, *own)
    return None


def _sizes(name, values):
    """What numbers of elements are called: along axes of the argument, then of others."""
    found: dict = {}
    ordered = sorted(values.items(), key=lambda item: item[0] != name)
    for length in range(1, 4):
        for other, v in ordered:
            of = "" if other == name else f" of {other}"
            for axes in itertools.combinations(range(v.ndim), length):
                n = math.prod(v.shape[a] for a in axes)
                together = " together" if length > 1 else ""
                found.setdefault(n, f"the size of {words(axes)}{together}{of}")
    return {n: text for n, text in found.items() if n > 2}
