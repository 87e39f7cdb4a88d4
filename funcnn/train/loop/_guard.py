"""Steps and their metrics come in; the first that is not finite goes out as an error."""

import contextlib
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from funcnn.optim.wrappers._finite import all_finite
from funcnn.train.step._loss_scale import LossScaled

SKIPS = 40  # updates left out in a row: from 2**15 the scale is down at 2**-25 then


class NonFiniteError(FloatingPointError):
    """A loss, or params, that are not finite.

    Attributes:
        state: the last state whose params were, and that led to them.
    """

    state: Any = None


class Guard:
    """Keeps what it takes to go back to the first bad step.

    That is a copy of a state known to be good, and the batches since: from those, the same
    steps lead to the same numbers. The copy is renewed in place.

    Args:
        step: one step, of which `step.locate(state, batch)` tells what in it is not finite.
            It may be of a function that the step was wrapped around.
        compiled: the same, with its state donated.
        state: where the run begins.
    """

    def __init__(self, step, compiled, state):
        self._locate = locate_of(step)
        self._compiled = compiled
        if not finite(state.params):
            raise NonFiniteError("fit needs params that are finite to start from.")
        self._good = copied(state)
        self._batches: list = []

    def sees(self, batches):
        """Steps are about to be taken on these."""
        self._batches.extend(batches)

    def check(self, rows):
        """Look at the metrics of some of the steps since the last look.

        Raises:
            NonFiniteError: if a loss is not finite.
        """
        if not all(np.isfinite(row["loss"]).all() for row in rows if "loss" in row):
            raise self._error()

    def renew(self, state):
        """Keep a state that steps with finite losses led to.

        Raises:
            NonFiniteError: if its params are not finite, or the last updates were left out
                at every loss scale.
        """
        if not finite(state.params):
            raise self._error()
        if isinstance(state.opt_state, LossScaled) and state.opt_state.row >= SKIPS:
            raise self._stuck(state)
        self._good = renewed(self._good, state)
        self._batches.clear()

    def _stuck(self, state):
        """Of a gradient that no loss scale makes finite; the params are those before."""
        row, scale = int(state.opt_state.row), float(state.opt_state.scale)
        what = (
            f"fit left out the last {row} updates, to step {int(state.step)}: their "
            f"gradients are not finite at any loss scale, down to {scale:.0e}"
        )
        return self._told(what, state, self._batches[-1])

    def _error(self):
        """Take the steps again, from the good state to the first that is bad."""
        state = self._good
        first = int(state.step)
        for batch in self._batches:
            before = copied(state)
            state, metrics = self._compiled(state, batch)
            bad_loss = not np.isfinite(metrics.get("loss", 0.0)).all()
            if bad_loss or not finite(state.params):
                return self._found(before, batch, metrics if bad_loss else None)
        return NonFiniteError(
            f"fit met a loss or params that are not finite after step {first}; the same "
            f"{len(self._batches)} steps, taken again one by one, did not lead there."
        )

    def _found(self, state, batch, metrics):
        number = int(state.step) + 1
        if metrics is None:
            what = f"fit made params that are not finite in step {number}"
        else:
            what = f"fit met a loss of {np.asarray(metrics['loss'])} in step {number}"
        return self._told(what, state, batch)

    def _told(self, what, state, batch):
        """The error, with where it comes from if that can be found."""
        where = None
        if self._locate is None:
            what += (
                ". It cannot tell the layer: a step around that of make_step needs its "
                "`locate`, which functools.wraps copies"
            )
        elif jax.process_count() == 1:
            where = self._locate(state, batch)
        error = NonFiniteError(f"{what}: {where}" if where else f"{what}.")
        error.state = state
        return error


def locate_of(step):
    """What tells where a number is from that is not finite, or None.

    It is the step's own, or that of the function which the step is made of: by
    `functools.partial` or `functools.wraps`, or as a function that calls it.
    """
    inner = [getattr(step, "func", None), getattr(step, "__wrapped__", None)]
    for cell in getattr(step, "__closure__", None) or ():
        with contextlib.suppress(ValueError):  # a cell that is empty yet
            inner.append(cell.cell_contents)
    found = (getattr(f, "locate", None) for f in (step, *inner))
    return next((f for f in found if callable(f)), None)


finite = jax.jit(all_finite)


@jax.jit
def copied(tree):
    """A copy, on the same devices."""
    return jax.tree.map(jnp.copy, tree)


@partial(jax.jit, donate_argnums=0, keep_unused=True)
def renewed(old, new):
    """A copy of `new`, in the memory of `old`."""
    del old
    return copied(new)
