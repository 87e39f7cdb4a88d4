"""The numbers that claims are about: what a function computes in every way it is run."""

import functools
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from funcnn.verify.functions._autodiff import has_rule
from funcnn.verify.functions._cotangents import stream
from funcnn.verify.functions._op import Op
from funcnn.verify.functions._phrases import first_line
from funcnn.verify.functions._split import SplitArguments, cast, parameter_names
from funcnn.verify.programs._numbers import Numbers, lazy

# What each claim needs of the function's own numbers, beside its value
# and its pullback.
NEEDS = {
    "value": {"forward"},
    "vmap": {"vmap", "alone", "batch"},
    "scan": {"scan"},
    "remat": {"remat"},
    "rev2": {"rev2"},
    "fwd2": {"fwd2"},
}


class CaseNumbers:
    """One function, one set of arguments, and all numbers computed from them on demand.

    `exact` holds them in float64, or in the dtypes given if the function takes no other;
    `given` in the dtypes given, if those are others. Naming some `claims` leaves out what
    the rest need. JAX cannot take forward mode through a rule whose forward pass calls the
    function itself, which many do: unless `literal`, that call is erased first. CaseNumbers
    that is `like` this, of the same function and claims, shares what it compiled. `notes`
    collects what cannot be claimed, and why.
    """

    def __init__(
        self, op: Op, args, seed: int = 0, claims=(), literal=True, alone=None, like=None
    ):
        self.op, self.args, self.literal = op, args, literal
        self.notes: list[str] = []
        self.kinked = self.first_order_fails = False
        wanted = (
            {"vjp", "value"}.union(*(NEEDS.get(claim, ()) for claim in claims))
            if claims
            else None
        )
        make = functools.partial(Numbers, op, seed=seed, literal=literal, alone=alone)
        self.parameters = parameter_names(op.apply, len(args))
        dtypes = [a.dtype for a in SplitArguments(op.apply, args).leaves]
        x64 = jnp.result_type(float) == np.float64 or np.float64 in dtypes
        self.x64 = x64
        if not dtypes:
            raise TypeError(f"{op.name} has no floating-point array in its arguments.")
        self.given = None
        if any(dtype != np.float64 for dtype in dtypes):
            one = like and like.given
            self.given = make(args, wanted={"value", "vjp"}, x64=x64, like=one)
        try:
            outputs = self.given and self.given.outputs
            exact = cast(args, jnp.float64)
            one = like and like.exact
            self.exact = make(exact, wanted=wanted, x64=True, given=outputs, like=one)
            if not literal:
                _ahead(self.exact, self.given, claims)
            if self.given and isinstance(self.exact.mine["vjp"], Exception):
                raise self.exact.mine["vjp"]
        except Exception as error:
            if not self.given or isinstance(self.given.mine["vjp"], Exception):
                raise
            self.exact = make(args, wanted=wanted, x64=x64, like=like and like.exact)
            self.given = None
            self.notes.append(
                f"{op.name} does not take float64 ({first_line(error)}): it is judged in "
                "the dtypes given, as closely as their rounding allows."
            )
        if not self.exact.outputs:
            raise TypeError(f"{op.name} has no floating-point array in its output.")
        self.names = self.exact.split.names

    def note(self, text):
        if text not in self.notes:
            self.notes.append(text)

    @property
    def has_rule(self):
        """Whether the function, and whether the reference, runs a custom rule."""
        return [has_rule(jaxpr) for jaxpr in self.exact.jaxprs]

    @lazy
    def defaults(self):
        """The names of the leaves that are all 0 or all 1, as when just initialised."""
        leaves = zip(self.names, self.exact.leaves, strict=True)
        return [name for name, a in leaves if a.size and (np.all(a == 0) or np.all(a == 1))]

    @lazy
    def elsewhere(self):
        """The exact numbers with other values in `defaults`, twice.

        Ones stay positive; zeros go by up to 1/2 and by up to 2, as a small step alone may
        turn no sign of the sums they are part of.
        """

        def move(size):
            def by(name, a, u):
                return a + np.where(a == 0, size, 0.5) * u if name in self.defaults else a

            return by

        return [self._moved(move(size), f"moves by {size}") for size in (0.5, 2.0)]

    @lazy
    def nearby(self):
        """The exact numbers a hundredth away in every leaf, off any kink."""

        def move(name, a, u):
            sizes = np.abs(a[np.isfinite(a) & (a != 0)])
            return np.where(a == 0, sizes.min(initial=1.0), a) * (u / 100) + a

        return self._moved(move, "moves")

    def _moved(self, move, purpose):
        rng = stream(self.exact.seed, purpose)
        leaves = []
        for name, a in zip(self.names, self.exact.leaves, strict=True):
            u = rng.uniform(0.2, 1, a.shape) * rng.choice([-1, 1], a.shape)
            leaves.append(np.asarray(move(name, a, u), a.dtype))
        return self.exact.at(leaves)


def _ahead(exact, given, claims):
    """Compute in threads what claims will ask for: XLA compiles outside Python's lock."""
    tasks = [lambda: exact.mine, lambda: exact.theirs]
    if not claims or "jit" in claims:
        tasks.append(lambda: exact.eager)
    if given and (not claims or "dtype" in claims):
        tasks += [lambda: given.mine, lambda: given.theirs]
    # what a user set for this thread alone
    config: Any = jax.config
    promotion, precision = (
        config.jax_numpy_dtype_promotion,
        config.jax_default_matmul_precision,
    )

    def run(task):
        with jax.numpy_dtype_promotion(promotion), jax.default_matmul_precision(precision):
            return task()

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for future in [pool.submit(run, task) for task in tasks]:
            future.exception()
