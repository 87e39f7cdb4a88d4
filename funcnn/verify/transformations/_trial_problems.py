"""An op's pullback on several problems, for transformations to be tried on."""

from functools import cached_property, partial

import jax
import jax.numpy as jnp
import numpy as np

from funcnn.verify.functions._cotangents import pullback
from funcnn.verify.functions._op import Op
from funcnn.verify.functions._split import SplitArguments, cast

COUNT = 16
TOLERANCE = 1e-10


def telling_case(op: Op):
    """The first of those cases with most leaves in which every number matters.

    Raises:
        ValueError: if all cases are empty, single numbers, infinite or without gradient.
    """
    found = []
    for case, args in op.cases(np.random.default_rng(0)).items():
        trial = Problems(op, cast(args, jnp.float64))
        if all(a.size > 1 and np.isfinite(a).all() and a.any() for a in trial.leaves):
            found.append((case, trial))
    for case, trial in sorted(found, key=lambda pair: -len(pair[1].leaves)):
        if all(np.count_nonzero(ct) > 1 for ct in trial.plain[0]):
            return case, trial
    raise ValueError("there is no case of several finite numbers that all matter")


class Problems:
    """Problems for one op: its leaves scaled, each with cotangents of its own."""

    def __init__(self, op: Op, args):
        self.op = op
        self.split = split = SplitArguments(op.apply, args)
        self.f = partial(split.call, op.apply)
        self.leaves = [np.asarray(a) for a in split.leaves]
        self.held = split.held
        rng = np.random.default_rng(1)
        outputs = jax.eval_shape(self.f, self.leaves, self.held)
        self.dys = [rng.standard_normal((COUNT, *y.shape)) for y in outputs]
        self.along = [rng.standard_normal(a.shape) for a in self.leaves]

    def pull(self, leaves, held, dys):
        """The cotangents of the leaves."""
        return pullback(lambda *leaves: self.f(leaves, held), leaves, dys)

    def leaves_of(self, i):
        """The leaves of problem `i`: shrunk, which keeps them in the domain."""
        return [np.asarray((1 - i / (2 * COUNT)) * a) for a in self.leaves]

    def held_of(self, i):
        """The other arrays: keys folded, labels and the like turned round."""
        return [
            jax.random.fold_in(h, i)
            if jax.dtypes.issubdtype(h.dtype, jax.dtypes.prng_key)
            else jnp.roll(h, i)
            for h in self.held
        ]

    def dys_of(self, i):
        """The cotangents of the outputs of problem `i`."""
        return [jnp.asarray(dy[i]) for dy in self.dys]

    @property
    def one(self):
        """The first problem."""
        return self.leaves_of(0), self.held_of(0), self.dys_of(0)

    @cached_property
    def stack(self):
        """All of them, as arrays with one axis more."""
        leaves = map(np.stack, zip(*map(self.leaves_of, range(COUNT)), strict=True))
        held = map(jnp.stack, zip(*map(self.held_of, range(COUNT)), strict=True))
        return [*leaves], [*held], self.dys

    @cached_property
    def plain(self):
        """Each problem's pullback, an operation at a time, without any transformation."""
        return [
            self.pull(
                [jnp.asarray(a) for a in self.leaves_of(i)], self.held_of(i), self.dys_of(i)
            )
            for i in range(COUNT)
        ]

    def agree(self, got, want):
        """The cotangents of the leaves are those wanted."""
        for name, g, w in zip(self.split.names, got, want, strict=True):
            assert jnp.shape(g) == jnp.shape(w), (
                f"the cotangent of {name} has shape {jnp.shape(g)} and not {jnp.shape(w)}."
            )
            g, w = np.asarray(g), np.asarray(w)
            scale = np.abs(w).max(initial=0) or 1.0
            error = np.abs(g - w).max(initial=0) / scale
            assert error <= TOLERANCE, (
                f"the cotangent of {name} is off by {error:.1e} of its scale."
            )

    def agree_all(self, got):
        """Stacked cotangents are those of the problems."""
        self.agree(got, [np.stack(cts) for cts in zip(*self.plain, strict=True)])
