"""The programs that a check runs, each compiled once for all points and cotangents.

Each returns a dict of lists of arrays by the names of the claims they serve. The points
at which pullbacks are taken are data: point `k` has the leaves multiplied by `scales[k]`,
a number a leaf, and cotangents of its own.
"""

import contextlib
import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from funcnn.verify.functions._autodiff import autodiff
from funcnn.verify.functions._cotangents import pullback, stream
from funcnn.verify.functions._split import SplitArguments
from funcnn.verify.programs._compile import jit
from funcnn.verify.programs._inline import inlined
from funcnn.verify.programs._interpret import interpreted
from funcnn.verify.programs._moves import moves, moves_at_once, near
from funcnn.verify.programs._pieces import finite, plain, pushed, some, transformed
from funcnn.verify.programs._rounding import DRAWS, noisy, pool_size

LARGE = 50_000
FIRST_ORDER = ("value", "vjp")  # computed as users compute them: compiled


class Programs:
    """All programs of one function and its reference, for one structure of arguments."""

    def __init__(self, f, reference, split: SplitArguments, literal, large, alone=None):
        self.f = functools.partial(split.call, f)
        if reference:
            self.reference = functools.partial(split.call, reference)
        else:
            self.reference = autodiff(self.f)
        self.literal = literal
        # what is batched by itself: each of these, the cotangents, and plain calls
        self.groups, self.dys_alone = split.groups, True
        if alone is not None:
            one = alone % (len(split.groups) + 1)
            self.groups = split.groups[one : one + 1]
            self.dys_alone = not self.groups
        self._jit = functools.partial(jit, large=large)
        self._compiled: dict = {}
        # NumPy computes in float64 as XLA does
        self.small = not large and all(a.dtype == np.float64 for a in split.leaves)

    def mine(self, wanted, inputs):
        """The function by itself, differentiated, and under each transformation."""
        return self._all("mine", some(self._mine(), wanted), inputs)

    def theirs(self, wanted, inputs):
        """The reference on the same inputs."""
        pieces = some(self._theirs(), wanted)
        return self._all("theirs", pieces, inputs)

    def both(self, wanted, inputs, count):
        """`mine` and, with its first `count` points, `theirs`.

        Of the reference `rev2` and `fwd2` are read off its value and pullback pushed
        forward, where that is finite: a Hessian is symmetric, and a pullback's derivative
        in the cotangent is the derivative of the value.
        """
        mine = self.mine(wanted, inputs)
        theirs = some(self._theirs(), wanted)
        second = {k: theirs.pop(k) for k in ("rev2", "fwd2") if k in theirs}
        if second:
            reference = self._program(("inlined", self.reference), self.reference, inlined)
            theirs["pushed"] = functools.partial(pushed, reference)
        leaves, held, dys, scales, along = inputs
        own = leaves, held, [dy[:count] for dy in dys], scales[:count], along
        found = self._all("theirs", theirs, own, mine.get("value"))
        if second:
            twice = found.pop("pushed")
            if isinstance(twice, Exception) or not all(np.isfinite(a).all() for a in twice):
                found |= self._once("theirs", second, own)
            else:
                both = {"rev2": twice, "fwd2": twice[: len(leaves)]}
                found |= {k: both[k] for k in second}
        return mine, found

    def moves(self, leaves, held, dys, block, weights, rows, steps):
        """How far the sum of `dy * y` moves, by `steps` along the directions `rows`.

        Infinite outputs, whose change no difference can tell, have no part in it.
        """
        inputs = leaves, held, dys, block, weights, rows, steps
        if self.small:
            with contextlib.suppress(Exception):  # what cannot be batched, or interpreted
                run = self._program(
                    "moves at once", functools.partial(moves_at_once, self.f), interpreted
                )
                moved, batched, plain = run(*inputs)
                # only if the batch is as it should be: to judge that is another claim's
                if all(map(near, batched, plain)):
                    return moved
        return self._program("moves", functools.partial(moves, self.f))(*inputs)

    def theirs_forward(self, inputs):
        """The reference's cotangents by forward mode, a leaf's element at a time.

        Loops of unknown length have no other.
        """

        def vjp(leaves, held, dys, scales, along):
            flat, unravel = ravel_pytree(leaves)

            def column(i):
                e = jnp.where(jnp.arange(flat.size) == i, 1, 0).astype(flat.dtype)
                return jax.jvp(lambda x: self.reference(unravel(x), held), (flat,), (e,))[1]

            columns = jax.lax.map(column, jnp.arange(flat.size))
            rows = sum(
                dy.reshape(len(dy), -1) @ c.reshape(flat.size, -1).T
                for dy, c in zip(dys, columns, strict=True)
            )
            split = np.cumsum([a.size for a in leaves])[:-1]
            parts = jnp.split(rows, split, 1)
            return [p.reshape(-1, *a.shape) for p, a in zip(parts, leaves, strict=True)]

        return self._run("forward", {"vjp": vjp}, inputs)["vjp"]

    def spread(self, whose, key, inputs, eps, seed):
        """The lowest and highest numbers of one piece in noisy arithmetic."""
        piece = (self._mine() if whose == "mine" else self._theirs())[key]
        size = pool_size(piece, *inputs)
        g = noisy(piece)

        def extremes(noise, eps, *inputs):
            def widen(bounds, noise):
                y = g(noise, eps, *inputs)
                low = jax.tree.map(jnp.fmin, bounds[0], y)
                return (low, jax.tree.map(jnp.fmax, bounds[1], y)), None

            first = g(noise[0], eps, *inputs)
            return jax.lax.scan(widen, (first, first), noise)[0]

        noise = stream(seed, "noise").uniform(-1, 1, (DRAWS // 2, size))
        # in pairs of opposites, so that every argument moves both ways
        noise = np.concatenate([noise, -noise])
        (found,) = self._once(
            "spread", {(whose, key): extremes}, (noise, eps, *inputs)
        ).values()
        if isinstance(found, Exception):
            raise found
        return found

    # --- what they are made of ----------------------------------------------------------

    def _mine(self):
        first = self._pullback(self.f)
        pieces = transformed(self.f, first, self.groups, self.dys_alone)
        return plain(self.f, first, self.literal) | pieces

    def _theirs(self):
        return plain(self.reference, self._pullback(self.reference), True)

    def _pullback(self, f):
        """The pullback of `f`, traced once for all that is made of it."""

        def first(leaves, held, dys):
            return pullback(lambda *a: f(a, held), leaves, dys)

        return self._program(("pullback", f), first, inlined)

    def _program(self, key, f, made=None):
        if key not in self._compiled:
            self._compiled[key] = (made or self._jit)(f)
        return self._compiled[key]

    def _all(self, whose, pieces, inputs, values=None):
        """What the pieces return, the pullbacks' at all points.

        Those have a program of their own, called once a point: a loop over the points would
        take longer to compile than all calls take to run. It is compiled, as what users run
        is; what runs once, and the reference, is interpreted if it is small.
        """
        first = {k: g for k, g in pieces.items() if k in FIRST_ORDER}
        found = self._at_points(whose, first, inputs, values)
        rest = {k: g for k, g in pieces.items() if k not in FIRST_ORDER}
        return found | self._once(whose, rest, inputs)

    def _at_points(self, whose, pieces, inputs, values):
        """The values at the first point, and the pullbacks at each.

        The function's `values`, or else these, say where cotangents are to ask for nothing.
        """
        leaves, held, dys, scales, along = inputs
        run = self._once if whose == "theirs" else self._run
        at_points: list[dict] = []
        for k in range(len(scales) if "vjp" in pieces else min(1, len(pieces))):
            if k == 1:
                dys = finite(dys, values or at_points[0].get("value"))
            one = leaves, held, [dy[k : k + 1] for dy in dys], scales[k : k + 1], along
            at_points.append(run(whose, pieces, one))
        found = {"value": at_points[0]["value"]} if "value" in pieces else {}
        if "vjp" in pieces:
            cts = [at_point["vjp"] for at_point in at_points]
            errors = [ct for ct in cts if isinstance(ct, Exception)]
            found["vjp"] = (
                errors[0] if errors else [np.concatenate(c) for c in zip(*cts, strict=True)]
            )
        return found

    def _once(self, title, pieces, inputs):
        """What pieces return, interpreted if they are small, else compiled."""
        if not self.small:
            return self._run(title, pieces, inputs)
        found, left = {}, {}
        for k, g in pieces.items():
            try:
                found[k] = self._program((title, k, "once"), g, interpreted)(*inputs)
            except Exception:  # which of the two cannot run it, the compiler tells
                left[k] = g
        return found | self._run(title, left, inputs)

    def _run(self, title, pieces, inputs):
        """Run all pieces as one program; if that fails, each alone, to see which."""

        def together(*inputs):
            return {k: g(*inputs) for k, g in pieces.items()}

        if not pieces:
            return {}
        try:
            return self._program((title, *pieces), together)(*inputs)
        except Exception:  # a rule may raise anything
            found = {}
            for k, g in pieces.items():
                try:
                    found[k] = self._program((title, k, "alone"), g)(*inputs)
                except Exception as error:
                    found[k] = error
            return found
