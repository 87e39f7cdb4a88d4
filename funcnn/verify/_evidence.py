"""The numbers that claims are about: what a function computes in every way it is run."""

import contextlib
import functools

import jax
import numpy as np

from funcnn.verify._autodiff import autodiff
from funcnn.verify._differences import directions, slopes
from funcnn.verify._subject import Op, cotangents, problem, pullback

# Each program runs once, on tiny arrays: compile it fast rather than well.
OPTIONS: dict[str, str | bool] = {
    "xla_backend_optimization_level": "0",
    "xla_llvm_disable_expensive_passes": True,
    "xla_cpu_parallel_codegen_split_count": "1",
    "xla_cpu_use_fusion_emitters": False,
}


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


def jit(f):
    """Compile `f` in little time."""
    return jax.jit(f, compiler_options=supported_options())


class Evidence:
    """One function, one set of arguments, and all numbers computed from them on demand.

    `mine` and `reference` are dicts of lists of arrays, or of the exception raised, by
    the names of the claims they serve; naming some `claims` leaves out the rest. JAX
    cannot take forward mode through a rule whose forward pass calls the function itself,
    which many do: unless `literal`, that call is erased first.
    """

    def __init__(self, op: Op, args, seed: int = 0, claims=(), literal=True):
        self.op = op
        self.args = args
        self.problem = problem(op.apply, args)
        self.names = self.problem.names
        self.seed = seed
        self._literal = literal
        self._wanted = {*claims, "forward"} if claims else None
        if not self.names:
            raise TypeError(f"{op.name} has no floating-point array in its arguments.")
        self._reference = problem(op.reference, args).f
        rng = np.random.default_rng(seed + 1)
        leaves = list(map(np.asarray, self.problem.leaves))
        self.dys = cotangents(self._reference, leaves, seed)
        if not self.dys:
            raise TypeError(f"{op.name} has no floating-point array in its output.")
        along = [np.asarray(rng.standard_normal(a.shape), a.dtype) for a in leaves]
        self._inputs = (leaves, self.dys, along)

    @functools.cached_property
    def mine(self):
        """The function by itself, differentiated, and under each transformation."""
        f = self.problem.f

        def scanned(*rows):
            return jax.lax.scan(lambda _, row: (None, f(*row)), None, rows)[1]

        def batch(leaves, dys, _):
            return jax.vmap(functools.partial(pullback, f))(leaves, dys)

        single = {
            "value": lambda leaves, dys, along: f(*leaves),
            "forward": lambda leaves, dys, along: jax.vjp(f, *leaves)[0],
            "vjp": lambda leaves, dys, along: pullback(f, leaves, dys),
            "remat": lambda leaves, dys, along: pullback(jax.checkpoint(f), leaves, dys),
            **_second_order(f, self._literal),
        }
        double = {
            "vmap": batch,
            "scan": lambda leaves, dys, _: pullback(scanned, leaves, dys),
        }
        pairs = jax.tree.map(lambda *pair: np.stack(pair), *self._two())
        pieces = {k: (g, self._inputs) for k, g in single.items()}
        return _run(self._needed(pieces | {k: (g, pairs) for k, g in double.items()}))

    @functools.cached_property
    def reference(self):
        """The reference on the same inputs, and on the pairs one at a time."""
        r = self._reference
        pieces = {
            "value": lambda leaves, dys, along: r(*leaves),
            "vjp": lambda leaves, dys, along: pullback(r, leaves, dys),
            **_second_order(r),
        }
        compiled = jit(lambda inputs: {k: g(*inputs) for k, g in pieces.items()})
        first, second = (compiled(inputs) for inputs in self._two())
        each = [np.stack(pair) for pair in zip(first["vjp"], second["vjp"], strict=True)]
        again = {"forward": first["value"], "remat": first["vjp"]}
        return first | again | {"vmap": each, "scan": each}

    @functools.cached_property
    def differences(self):
        """Directions, the pullback's product with each, and the function's slope there.

        The cotangents are positive, so that a convex function's kinks stay convex.
        """
        leaves = self._inputs[0]
        dys = [1.5 + np.tanh(dy) for dy in self.dys]
        d = directions(leaves, self.seed)
        return d, *slopes(self.problem.f, leaves, dys, d, jit)

    def _needed(self, pieces):
        if self._wanted is None:
            return pieces
        return {k: v for k, v in pieces.items() if k in self._wanted}

    def _two(self):
        """The inputs, and three quarters of them: in the domain if they are."""
        return self._inputs, jax.tree.map(lambda a: np.asarray(0.75 * a), self._inputs)


def _second_order(f, literal=True):
    """Derivatives of the pullback; unless `literal`, of one with no rule left in it."""

    def first(leaves, dys):
        return pullback(f, leaves, dys)

    def reverse(leaves, dys, along):
        to_leaves, to_dys = jax.vjp(first, leaves, dys)[1](along)
        return [*to_leaves, *to_dys]

    def forward(leaves, dys, along):
        once = first if literal else autodiff(first)
        return jax.jvp(lambda leaves: once(leaves, dys), (leaves,), (along,))[1]

    return {"rev2": reverse, "fwd2": forward}


def _run(pieces):
    """Compile all pieces as one program; if that fails, each alone, to see which."""
    try:
        inputs = {k: inputs for k, (_, inputs) in pieces.items()}
        return jit(lambda i: {k: g(*i[k]) for k, (g, _) in pieces.items()})(inputs)
    except Exception:  # a rule may raise anything
        found = {}
        for k, (g, inputs) in pieces.items():
            try:
                found[k] = jit(g)(*inputs)
            except Exception as error:
                found[k] = error
        return found
