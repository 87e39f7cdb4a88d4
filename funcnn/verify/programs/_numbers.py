"""Arguments in some dtypes, and the numbers that a function computes from them."""

import contextlib
import functools

import jax
import jax.numpy as jnp
import numpy as np

from funcnn.verify.functions._cotangents import cotangents, pullback, stream
from funcnn.verify.functions._split import SplitArguments
from funcnn.verify.programs._differences import (
    Directions,
    Moves,
    directions,
    everywhere,
    remainder,
    slopes,
)
from funcnn.verify.programs._one_by_one import one_by_one
from funcnn.verify.programs._pieces import finite
from funcnn.verify.programs._programs import LARGE, Programs
from funcnn.verify.programs._rounding import coarsest

SEVERAL = {"vmap", "batch", "alone", "scan"}  # these take pullbacks at several points
# How many moves are computed at once, of small arrays and of others: one program serves
# any number, and what it has too many is computed for nothing.
MOVES = 128, 32
SMALL = 8192


class lazy(functools.cached_property):  # noqa: N801
    """A cached property without the lock of Python 3.11, which threads would queue for."""

    def __get__(self, instance, owner=None):
        """Compute the value once; it then hides this in the instance."""
        if instance is None:
            return self
        value = vars(instance)[self.attrname] = self.func(instance)
        return value


class Numbers:
    """Arguments in some dtypes, and the numbers computed from them.

    Pullbacks are taken at several points: with each cotangent, then with each
    argument by itself scaled by 3/4, then with all of them scaled. `alone` is the index of
    the one argument that is taken by itself, or of the cotangents and plain calls, which
    come last, modulo their number; None for each. Only what is `wanted` is computed, None
    for all; `ones` asks for a single cotangent, of ones. The programs of a setting that is
    `like` this one are taken over: they need not be compiled again.
    """

    def __init__(
        self,
        op,
        args,
        seed=0,
        wanted=None,
        literal=True,
        x64=True,
        given=None,
        alone=None,
        ones=False,
        like=None,
    ):
        self.op, self.seed, self.x64, self._wanted = op, seed, x64, wanted
        with jax.enable_x64(x64):
            self.split, traced, shapes = _split(op.apply, args)
            self.leaves = [np.asarray(a) for a in self.split.leaves]
            self.held = [_canonical(a) for a in self.split.held]
            self.size = sum(a.size for a in self.leaves)
            if like and like.split.fits(self.split):
                self.programs = like.programs
            else:
                self.programs = Programs(
                    op.apply, op.reference, self.split, literal, self.size > LARGE, alone
                )
            self.outputs, self._jaxpr = shapes, traced
        if ones:
            self.dys = [np.ones((1, *y.shape), y.dtype) for y in self.outputs]
        else:
            self.dys = cotangents(self.outputs, seed, given)
        self.count = len(self.dys[0]) if self.dys else 1
        several = wanted is None or bool(wanted & SEVERAL)
        self.groups = self.programs.groups if several else []
        points = self.count + len(self.groups)
        self._scales = np.ones((points + several, len(self.leaves)))
        for i, group in enumerate(self.groups):
            self._scales[self.count + i, group] = 0.75
        self._scales[points:] = 0.75
        repeats = [0] * len(self.groups)
        self._all_dys = [
            np.concatenate([dy, dy[repeats], (0.75 * dy[:1]).astype(dy.dtype)[:several]])
            for dy in self.dys
        ]
        rng = stream(seed, "tangents")
        self._along = [
            np.asarray(rng.standard_normal(a.shape), a.dtype) for a in self.leaves
        ]

    def at(self, leaves):
        """The same with other numbers in the leaves."""
        other = object.__new__(Numbers)
        numbers = "mine", "theirs", "eager", "_both"
        kept = {k: v for k, v in vars(self).items() if k not in numbers}
        vars(other).update(kept, leaves=leaves)
        return other

    @lazy
    def mine(self):
        """The function's numbers: a dict of lists of arrays, or of exceptions raised."""
        with jax.enable_x64(self.x64):
            if self.programs.literal:
                return _numpy(self._both[0])
            return _numpy(self.programs.mine(self._wanted, self._inputs("mine")))

    @lazy
    def theirs(self):
        """The reference's, for all cotangents."""
        with jax.enable_x64(self.x64):
            if self.programs.literal:
                found = self._both[1]
            else:
                found = self.programs.theirs(self._wanted, self._inputs("theirs"))
            if isinstance(found["vjp"], Exception) and self.size <= 512:
                found["vjp"] = self.programs.theirs_forward(self._inputs("theirs"))
            return _numpy(found)

    @lazy
    def _both(self):
        # for many cases, where threads are busy with other ones, not for a single check
        return self.programs.both(self._wanted, self._inputs("mine"), self.count)

    @lazy
    def jaxprs(self):
        """The function's, with calls of rules in it, and the reference's."""
        with jax.enable_x64(self.x64):
            theirs = jax.make_jaxpr(self.programs.reference)(self.leaves, self.held)
            return [self._jaxpr, theirs]

    @lazy
    def eps(self) -> float:
        """The relative rounding of what the function and the reference compute."""
        return max(map(coarsest, self.jaxprs))

    def without_rules(self, key) -> bool:
        """Whether the function can be differentiated in this way by JAX alone."""
        plain = Programs(self.op.apply, None, self.split, True, False)
        with jax.enable_x64(self.x64):
            found = plain.theirs({key}, self._inputs("theirs"))
        return not isinstance(found[key], Exception)

    def spread(self, whose, key, eps=None):
        """The lowest and the highest numbers that rounding alone may lead to."""
        with jax.enable_x64(True):
            eps = self.eps if eps is None else eps
            leaves, held, dys, *rest = self._inputs(whose)
            dys = finite(dys, getattr(self, whose)["value"])
            inputs = leaves, held, dys, *rest
            bounds = self.programs.spread(whose, key, inputs, eps, self.seed)
            return [[np.asarray(a, np.float64) for a in bound] for bound in bounds]

    def slopes(self, cts, dys, chosen: Directions | None = None, limit=None):
        """Directions, the products of cotangents with them, the function's slopes there.

        Without cotangents, the slopes are sought until they are certain.
        """
        limit = limit or (128 if self.size <= SMALL else 24)
        d = chosen or directions(self.leaves, self.seed, limit)
        products = None if cts is None else d.products(cts)
        return d, products, slopes(*self._ladder(dys), d, products)

    def remainder(self, cts, dys):
        """Taylor's remainder in a direction that moves all arguments."""
        d = everywhere(self.leaves, self.seed)
        (product,) = d.products(cts)
        (terms,) = d._replace(weights=abs(d.weights)).products([abs(ct) for ct in cts])
        return product, remainder(*self._ladder(dys), d, product, terms or 1.0)

    @lazy
    def eager(self):
        """The pullback of the first cotangent, run an operation at a time."""
        with jax.enable_x64(self.x64):
            leaves = [jnp.asarray(a) for a in self.leaves]
            dys = [jnp.asarray(dy[0]) for dy in self.dys]

            def found():
                cts = pullback(lambda *a: self.programs.f(a, self.held), leaves, dys)
                return [np.asarray(ct) for ct in cts]

            if self.programs.small:
                with contextlib.suppress(Exception):  # what raises is run by JAX
                    return one_by_one(found)
            return found()

    def _inputs(self, whose):
        if whose == "mine":
            dys, scales = self._all_dys, self._scales
        else:
            dys, scales = self.dys, np.ones((self.count, len(self.leaves)))
        return self.leaves, self.held, dys, _canonical(scales), self._along

    def _ladder(self, dys) -> tuple[Moves, float, float]:
        """How values move, the size of the terms they add up, and their rounding."""

        def moves(d, rows, steps):
            found = []
            at_once = MOVES[self.size > SMALL]
            for start in range(0, len(rows), at_once):
                part = slice(start, start + at_once)
                spare = at_once - len(rows[part])
                padded = np.pad(rows[part], (0, spare)), np.pad(steps[part], (0, spare))
                with jax.enable_x64(self.x64):
                    numbers = map(_canonical, (d.block, d.weights, *padded))
                    moved = self.programs.moves(self.leaves, self.held, dys, *numbers)
                found.append(np.asarray(moved, np.float64)[: at_once - spare])
            return np.concatenate([*found, np.zeros(0)])

        values = self.mine["value"]
        size = sum(
            np.abs(dy * np.where(np.isfinite(y), y, 0)).sum()
            for dy, y in zip(dys, values, strict=True)
        )
        return moves, float(size), self.eps


def _canonical(a):
    """An array that JAX takes as it is, and no one else holds."""
    if isinstance(a, np.ndarray):
        return np.array(a, jax.dtypes.canonicalize_dtype(a.dtype))
    return a


def _split(f, args):
    """Arguments split, the function traced on them, and what it returns.

    Integers are traced unless the function needs to know them.
    """

    def trace(split):
        call = functools.partial(split.call, f)
        return split, *jax.make_jaxpr(call, return_shape=True)(split.leaves, split.held)

    try:
        return trace(SplitArguments(f, args))
    except (TypeError, jax.errors.JAXTypeError):
        return trace(SplitArguments(f, args, concrete=True))


def _numpy(found):
    return {
        k: v if isinstance(v, Exception) else [np.asarray(a) for a in v]
        for k, v in found.items()
    }
