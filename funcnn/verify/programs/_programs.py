"""The programs that a check runs, each compiled once for all points and cotangents.

Each returns a dict of lists of arrays by the names of the claims they serve. The points
at which pullbacks are taken are data: point `k` has the leaves multiplied by `scales[k]`,
a number a leaf, and cotangents of its own.
"""

import contextlib
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from funcnn.verify.functions._autodiff import autodiff
from funcnn.verify.functions._cotangents import POSITIVE, pullback, stream
from funcnn.verify.functions._split import SplitArguments
from funcnn.verify.programs._compile import jit
from funcnn.verify.programs._inline import inlined
from funcnn.verify.programs._interpret import interpreted
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
        self._small = not large and all(a.dtype == np.float64 for a in split.leaves)

    def mine(self, wanted, inputs):
        """The function by itself, differentiated, and under each transformation."""
        return self._all("mine", some(self._mine(), wanted), inputs)

    def theirs(self, wanted, inputs):
        """The reference on the same inputs."""
        pieces = some(self._plain(self.reference, True), wanted)
        return self._all("theirs", pieces, inputs)

    def both(self, wanted, inputs, count):
        """`mine` and, with its first `count` points, `theirs`.

        Of the reference `rev2` and `fwd2` are read off its value and pullback pushed
        forward, where that is finite: a Hessian is symmetric, and a pullback's derivative
        in the cotangent is the derivative of the value.
        """
        mine = self.mine(wanted, inputs)
        theirs = some(self._plain(self.reference, True), wanted)
        second = {k: theirs.pop(k) for k in ("rev2", "fwd2") if k in theirs}
        if second:
            theirs["pushed"] = self._pushed
        leaves, held, dys, scales, along = inputs
        own = leaves, held, [dy[:count] for dy in dys], scales[:count], along
        reference = self._all("theirs", theirs, own, mine.get("value"))
        if second:
            twice = reference.pop("pushed")
            if isinstance(twice, Exception) or not all(np.isfinite(a).all() for a in twice):
                reference |= self._once("theirs", second, own)
            else:
                both = {"rev2": twice, "fwd2": twice[: len(leaves)]}
                reference |= {k: both[k] for k in second}
        return mine, reference

    def moves(self, leaves, held, dys, block, weights, rows, steps):
        """How far the sum of `dy * y` moves, by `steps` along the directions `rows`.

        Infinite outputs, whose change no difference can tell, have no part in it.
        """
        inputs = leaves, held, dys, block, weights, rows, steps
        if self._small:
            with contextlib.suppress(Exception):  # what cannot be batched, or interpreted
                run = self._program("moves at once", self._moves_at_once, interpreted)
                moved, batched, plain = run(*inputs)
                # only if the batch is as it should be: to judge that is another claim's
                if all(map(_near, batched, plain)):
                    return moved
        return self._program("moves", self._moves)(*inputs)

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
        piece = (self._mine() if whose == "mine" else self._plain(self.reference, True))[
            key
        ]
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

    def _plain(self, f, literal):
        first = self._pullback(f)

        def value(leaves, held, dys, scales, along):
            return f(leaves, held)

        def vjp(leaves, held, dys, scales, along):
            def at(point):
                s, dy = point
                return first(scaled(leaves, s), held, dy)

            if len(scales) == 1:
                return [ct[None] for ct in at((scales[0], [dy[0] for dy in dys]))]
            return jax.lax.map(at, (scales, dys))

        def reverse(leaves, held, dys, scales, along):
            one = [dy[0] for dy in dys]
            back = jax.vjp(lambda leaves, dy: first(leaves, held, dy), leaves, one)[1]
            to_leaves, to_dys = back(along)
            return [*to_leaves, *to_dys]

        def forward(leaves, held, dys, scales, along):
            one = [dy[0] for dy in dys]
            once = first if literal else autodiff(first)
            return jax.jvp(lambda leaves: once(leaves, held, one), (leaves,), (along,))[1]

        return {"value": value, "vjp": vjp, "rev2": reverse, "fwd2": forward}

    def _pullback(self, f):
        """The pullback of `f`, traced once for all that is made of it."""

        def first(leaves, held, dys):
            return pullback(lambda *a: f(a, held), leaves, dys)

        return self._program(("pullback", f), first, inlined)

    def _mine(self):
        f, groups, dys_alone = self.f, self.groups, self.dys_alone
        first = self._pullback(f)

        def outer(leaves, held, dys, scales, along):
            return jax.vjp(lambda *a: f(a, held), *leaves)[0]

        def remat(leaves, held, dys, scales, along):
            one = [dy[0] for dy in dys]
            return pullback(jax.checkpoint(lambda *a: f(a, held)), leaves, one)

        def vmap(leaves, held, dys, scales, along):
            pair = [
                jnp.stack(p) for p in zip(leaves, scaled(leaves, scales[-1]), strict=True)
            ]
            both = [jnp.stack([h, h]) for h in held]
            two = [jnp.concatenate([dy[:1], dy[-1:]]) for dy in dys]
            return jax.vmap(first)(pair, both, two)

        def batch(leaves, held, dys, scales, along):
            pair = [jnp.stack([a, 0.75 * a]) for a in leaves]
            found = jax.vmap(f)(pair, [jnp.stack([h, h]) for h in held])
            return [y[0] for y in found]

        def alone(leaves, held, dys, scales, along):
            """Each argument batched by itself, then the cotangents by themselves."""
            one = [dy[0] for dy in dys]
            found = []
            for group in groups:
                pair = [
                    jnp.stack([a, 0.75 * a]) if i in group else a
                    for i, a in enumerate(leaves)
                ]
                axes = [0 if i in group else None for i in range(len(leaves))]
                found += jax.vmap(first, (axes, None, None))(pair, held, one)
            if dys_alone:
                two = [dy[:2] for dy in dys]
                found += jax.vmap(first, (None, None, 0))(leaves, held, two)
            return found

        def scan(leaves, held, dys, scales, along):
            pair = [
                jnp.stack(p) for p in zip(leaves, scaled(leaves, scales[-1]), strict=True)
            ]
            two = [jnp.concatenate([dy[:1], dy[-1:]]) for dy in dys]

            def scanned(*rows):
                return jax.lax.scan(lambda _, row: (None, f(row, held)), None, rows)[1]

            return pullback(scanned, pair, two)

        plain = {**self._plain(f, self.literal), "forward": outer, "remat": remat}
        several = {"vmap": vmap, "alone": alone, "scan": scan}
        return plain | several | ({"batch": batch} if dys_alone else {})

    def _pushed(self, leaves, held, dys, scales, along):
        """How the reference's cotangents change along a direction, then its values."""
        reference = self._program(("inlined", self.reference), self.reference, inlined)

        def once(leaves):
            ys, back = jax.vjp(lambda *a: reference(a, held), *leaves)
            return list(back([dy[0] for dy in dys])), list(ys)

        cts, ys = jax.jvp(once, (leaves,), (along,))[1]
        return [*cts, *ys]

    def _moves(self, leaves, held, dys, block, weights, rows, steps):
        move = self._move(leaves, held, block, weights)

        def change(base, point):
            moved = move(*point)
            base = [jnp.where(point[0] < 0, m, b) for m, b in zip(moved, base, strict=True)]
            return base, _change(moved, base, dys)

        # the first point, of no row, is where all start from: the function is in here once
        start = [jnp.zeros_like(dy) for dy in dys]
        return jax.lax.scan(change, start, _with_start(rows, steps))[1][1:]

    def _moves_at_once(self, leaves, held, dys, block, weights, rows, steps):
        """As `_moves`, in a batch; and the values at the start, of the batch and plain."""
        move = self._move(leaves, held, block, weights)
        moved = jax.vmap(move)(*_with_start(rows, steps))
        base = [m[0] for m in moved]
        total = jax.vmap(lambda moved: _change(moved, base, dys))([m[1:] for m in moved])
        return total, base, self.f(leaves, held)

    def _move(self, leaves, held, block, weights):
        """The function's values, moved by a step along a direction."""
        flat, unravel = ravel_pytree(leaves)

        def move(row, h):
            u = jnp.where(block == row, weights, 0)
            return self.f(unravel(jnp.where(u == 0, flat, flat + h * u)), held)

        return move

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
        if not self._small:
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


def _with_start(rows, steps):
    return jnp.pad(rows, (1, 0), constant_values=-1), jnp.pad(steps, (1, 0))


def _change(moved, base, dys):
    """The change of `dy * y`, summed over the outputs."""
    total: Any = 0
    for m, b, dy in zip(moved, base, dys, strict=True):
        # equal infinities have not moved
        apart = jnp.where(m == b, 0, m - b)
        total += jnp.vdot(jnp.where(jnp.isfinite(b), dy, 0), apart)
    return total


def _near(a, b):
    with np.errstate(all="ignore"):
        scale = np.abs(b[np.isfinite(b)]).max(initial=0)
        return np.allclose(a, b, rtol=1e-9, atol=1e-9 * scale, equal_nan=True)


def some(pieces, wanted):
    """The pieces that are wanted, None for all."""
    return {k: g for k, g in pieces.items() if not wanted or k in wanted}


def finite(dys, values):
    """Cotangents that ask for nothing, where differences judge, of infinite values.

    No difference can tell what infinities do.
    """
    if values is None or isinstance(values, Exception):
        return dys
    if not dys or len(dys[0]) <= POSITIVE:
        return dys
    dys = [np.array(dy) for dy in dys]
    for dy, y in zip(dys, values, strict=True):
        dy[POSITIVE] = np.where(np.isfinite(y), dy[POSITIVE], 0)
    return dys


def scaled(leaves, factors):
    """Each leaf times its factor."""
    return [a * factors[i].astype(a.dtype) for i, a in enumerate(leaves)]
