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
from funcnn.verify.functions._subject import POSITIVE, Split, pullback, stream
from funcnn.verify.programs._rounding import DRAWS, noisy, pool_size

# Small programs run once: compile them fast rather than well.
OPTIONS: dict[str, str | bool] = {
    "xla_backend_optimization_level": "0",
    "xla_llvm_disable_expensive_passes": True,
    "xla_cpu_parallel_codegen_split_count": "1",
    "xla_cpu_use_fusion_emitters": False,
}
LARGE = 50_000


@functools.cache
def supported_options():
    """Those of the compiler's options that this version of it has."""
    trivial = jax.jit(lambda: 0).lower()
    supported: dict[str, str | bool] = {}
    for name, value in OPTIONS.items():
        with contextlib.suppress(jax.errors.JaxRuntimeError):
            trivial.compile(compiler_options={name: value})
            supported[name] = value
    return supported


def jit(f, large=False):
    """Compile `f` in little time, or, for `large` arrays, to run in little time."""
    return jax.jit(f, compiler_options={} if large else supported_options())


class Programs:
    """All programs of one function and its reference, for one structure of arguments."""

    def __init__(self, f, reference, split: Split, literal, large, alone=None):
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

    def mine(self, wanted, inputs):
        """The function by itself, differentiated, and under each transformation."""
        return self._all({"mine": some(self._mine(), wanted)}, inputs)["mine"]

    def theirs(self, wanted, inputs):
        """The reference on the same inputs."""
        pieces = some(self._plain(self.reference, True), wanted)
        return self._all({"theirs": pieces}, inputs)["theirs"]

    def both(self, wanted, inputs, count):
        """`mine` and, with its first `count` points, `theirs` in one program.

        Of the reference `rev2` and `fwd2` are read off its value and pullback pushed
        forward, where that is finite: a Hessian is symmetric, and a pullback's derivative
        in the cotangent is the derivative of the value.
        """
        mine = some(self._mine(), wanted)
        theirs = some(self._plain(self.reference, True), wanted)
        second = {k: theirs.pop(k) for k in ("rev2", "fwd2") if k in theirs}
        if second:
            theirs["pushed"] = self._pushed
        found = self._all({"mine": mine, "theirs": theirs}, inputs)
        reference = found["theirs"]
        if not isinstance(reference["vjp"], Exception):
            reference["vjp"] = [ct[:count] for ct in reference["vjp"]]
        if second:
            twice = reference.pop("pushed")
            if isinstance(twice, Exception) or not all(np.isfinite(a).all() for a in twice):
                reference |= self._run("theirs", second, inputs)
            else:
                both = {"rev2": twice, "fwd2": twice[: len(inputs[0])]}
                reference |= {k: both[k] for k in second}
        return found["mine"], reference

    def moves(self, leaves, held, dys, block, weights, rows, steps):
        """How far the sum of `dy * y` moves, by `steps` along the directions `rows`.

        Infinite outputs, whose change no difference can tell, have no part in it.
        """
        return self._program("moves", self._moves)(
            leaves, held, dys, block, weights, rows, steps
        )

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
        return self._program(("spread", whose, key), extremes)(noise, eps, *inputs)

    # --- what they are made of ----------------------------------------------------------

    def _plain(self, f, literal):
        def first(leaves, held, dys):
            return pullback(lambda *a: f(a, held), leaves, dys)

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

    def _mine(self):
        f, groups, dys_alone = self.f, self.groups, self.dys_alone

        def first(leaves, held, dys):
            return pullback(lambda *a: f(a, held), leaves, dys)

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
            two = [dy[jnp.array([0, len(dy) - 1])] for dy in dys]
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
            two = [dy[jnp.array([0, len(dy) - 1])] for dy in dys]

            def scanned(*rows):
                return jax.lax.scan(lambda _, row: (None, f(row, held)), None, rows)[1]

            return pullback(scanned, pair, two)

        plain = {**self._plain(f, self.literal), "forward": outer, "remat": remat}
        several = {"vmap": vmap, "alone": alone, "scan": scan}
        return plain | several | ({"batch": batch} if dys_alone else {})

    def _pushed(self, leaves, held, dys, scales, along):
        """How the reference's cotangents change along a direction, then its values."""

        def once(leaves):
            ys, back = jax.vjp(lambda *a: self.reference(a, held), *leaves)
            return list(back([dy[0] for dy in dys])), list(ys)

        cts, ys = jax.jvp(once, (leaves,), (along,))[1]
        return [*cts, *ys]

    def _moves(self, leaves, held, dys, block, weights, rows, steps):
        flat, unravel = ravel_pytree(leaves)

        def change(base, point):
            row, h = point
            u = jnp.where(block == row, weights, 0)
            moved = self.f(unravel(jnp.where(u == 0, flat, flat + h * u)), held)
            base = [jnp.where(row < 0, m, b) for m, b in zip(moved, base, strict=True)]
            total: Any = 0
            for m, b, dy in zip(moved, base, dys, strict=True):
                # equal infinities have not moved
                apart = jnp.where(m == b, 0, m - b)
                total += jnp.vdot(jnp.where(jnp.isfinite(b), dy, 0), apart)
            return base, total

        # the first point, of no row, is where all start from: the function is in here once
        points = jnp.pad(rows, (1, 0), constant_values=-1), jnp.pad(steps, (1, 0))
        start = [jnp.zeros_like(dy) for dy in dys]
        return jax.lax.scan(change, start, points)[1][1:]

    def _program(self, key, f):
        if key not in self._compiled:
            self._compiled[key] = self._jit(f)
        return self._compiled[key]

    def _all(self, families, inputs):
        """What the pieces of each family return, the pullbacks' at all points.

        Those have a program of their own, called once a point: a loop over the points would
        take longer to compile than all calls take to run.
        """
        pieces = {(whose, k): g for whose, own in families.items() for k, g in own.items()}
        pullbacks = {key: pieces.pop(key) for key in list(pieces) if key[1] == "vjp"}
        found = self._run(tuple(families), pieces, inputs)
        leaves, held, dys, scales, along = inputs
        dys = finite(dys, found.get((next(iter(families)), "value")))
        at_points: list[dict] = []
        for k in range(len(scales) if pullbacks else 0):
            one = leaves, held, [dy[k : k + 1] for dy in dys], scales[k : k + 1], along
            at_points.append(self._run("vjp", pullbacks, one))
        for key in pullbacks:
            cts = [at_point[key] for at_point in at_points]
            errors = [ct for ct in cts if isinstance(ct, Exception)]
            found[key] = (
                errors[0] if errors else [np.concatenate(c) for c in zip(*cts, strict=True)]
            )
        return {w: {k: found[w, k] for k in own} for w, own in families.items()}

    def _run(self, title, pieces, inputs):
        """Run all pieces as one program; if that fails, each alone, to see which."""

        def together(*inputs):
            return {k: g(*inputs) for k, g in pieces.items()}

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
