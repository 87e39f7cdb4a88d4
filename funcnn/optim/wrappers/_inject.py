"""What makes an optimizer in, one whose hyperparameters live in its state out."""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from funcnn.optim.protocol._optimizer import Optimizer, extended
from funcnn.optim.protocol._rates import learning_rate_at, tells
from funcnn.optim.protocol._trees import check_own


class InjectState(NamedTuple):
    """Updates made so far, the hyperparameters by name, and the optimizer's state."""

    step: chex.Array
    hyperparameters: dict[str, chex.Array]
    inner: chex.ArrayTree

    def change(self, **values: chex.Numeric) -> "InjectState":
        """Return this state with other hyperparameters.

        What a schedule says takes their place again in the next update.

        Args:
            **values: scalars, by name.

        Raises:
            ValueError: if there is no hyperparameter of that name in the state.
        """
        for name in values:
            if name not in self.hyperparameters:
                raise ValueError(
                    f"InjectState has hyperparameters {sorted(self.hyperparameters)}; "
                    f"got {name!r}."
                )
        new = {name: strong(value) for name, value in values.items()}
        return self._replace(hyperparameters=self.hyperparameters | new)


def inject(make: Callable[..., Optimizer], **arguments: Any) -> Optimizer:
    """Keep an optimizer's numbers in its state, where they can be seen and changed.

        optimizer = optim.inject(optim.adamw, learning_rate=1e-3, weight_decay=0.1)
        opt_state = optimizer.init(params)
        opt_state = opt_state.change(learning_rate=1e-4)

    A step that is jitted does not compile anew for another number.

    Args:
        make: what makes the optimizer, `adamw` or a function of your own.
        **arguments: its arguments. Floating-point numbers and arrays go into the state; so
            do the values of schedules, anew in each update: of functions for a
            `learning_rate`, or for what is a number by default, as `weight_decay`. All
            others (integers, bools, dtypes, masks) are passed on as they are.

    Returns:
        An `Optimizer`. Its hyperparameters are arrays of the default float dtype.

    Raises:
        TypeError: if a hyperparameter is no number; and what `make` raises.
        ValueError: if a schedule returns no scalar; and what `make` raises.
    """
    scheduled = of_numbers(make)
    schedules = {
        n: a
        for n, a in arguments.items()
        if callable(a) and (n.endswith("learning_rate") or n in scheduled)
    }
    numbers = {n: a for n, a in arguments.items() if numeric(a)}
    moving = numbers.keys() | schedules.keys()
    rest = {n: a for n, a in arguments.items() if n not in moving}

    def values(step):
        named = {
            n: learning_rate_at(f"inject's {n}", s, step) for n, s in schedules.items()
        }
        return {n: strong(a) for n, a in named.items()}

    make(**arguments | values(jnp.zeros((), jnp.int32)))  # raises what is wrong

    def init(params):
        step = jnp.zeros((), jnp.int32)
        held = {n: strong(a) for n, a in numbers.items()} | values(step)
        return InjectState(step, held, make(**held, **rest).init(params))

    def update(grads, state, params=None, **extra):
        check_own("inject", state, InjectState)
        held = state.hyperparameters | values(state.step)
        step_of = extended("inject", make(**held, **rest))
        updates, inner = step_of(grads, state.inner, params, **extra)
        return updates, InjectState(state.step + 1, held, inner)

    def rate(state):
        return (state.hyperparameters | values(state.step))["learning_rate"]

    return Optimizer(init, tells(update, rate if "learning_rate" in moving else None))


def of_numbers(make):
    """The names of the parameters that are floating-point numbers by default."""
    try:
        parameters = inspect.signature(make).parameters.values()
    except (TypeError, ValueError):  # of some that are not written in Python
        return set()
    return {p.name for p in parameters if isinstance(p.default, float)}


def numeric(a):
    """Whether an argument is a floating-point number."""
    if isinstance(a, jax.Array | np.ndarray):
        return jnp.issubdtype(a.dtype, jnp.floating)
    return isinstance(a, float)


def strong(a):
    """A hyperparameter as an array of the default float dtype."""
    return jnp.asarray(a, jnp.result_type(float))
