"""`jax.custom_vjp` for ops: a call with arrays, not traced, runs one compiled program.

JAX runs a function that has a rule an operation at a time, and takes some hundred
microseconds more to see to the rule, which then has nothing to do. Under a trace, such as
that of `jax.jit` or `jax.grad`, all is as with `jax.custom_vjp`.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import jax
from jax.extend.core import get_opaque_trace_state

R = TypeVar("R")

with jax.ensure_compile_time_eval():
    _UNTRACED = get_opaque_trace_state()


class custom_vjp(jax.custom_vjp[R]):  # noqa: N801
    """A function with a rule for its derivative: `jax.custom_vjp`, but fast if called."""

    def __init__(self, fun: Callable[..., R], nondiff_argnums: Sequence[int] = ()):
        super().__init__(fun, nondiff_argnums)
        self._compiled = _compiled(fun, self.nondiff_argnums, super().__call__)

    @property
    def __call__(self) -> Callable[..., R]:
        """What runs. As a property it leaves no frame between a caller and the op."""
        return self._compiled if _untraced() else super().__call__

    def defvjp(self, fwd: Callable, bwd: Callable, *options: Any, **named: Any) -> None:
        """Set the rule, as for `jax.custom_vjp`.

        The pullback, too, is one program. The forward rule is not: what it keeps of its
        arguments for the pullback a program would copy.
        """
        compiled = _compiled(bwd, tuple(range(len(self.nondiff_argnums))), bwd)

        @functools.wraps(bwd)
        def pullback(*args):
            return compiled(*args) if _untraced() else bwd(*args)

        super().defvjp(fwd, pullback, *options, **named)


def _untraced():
    return get_opaque_trace_state() == _UNTRACED


def _compiled(f, static_argnums, plain):
    """`f` as one program, and if that cannot be, as for wrong arguments, `plain`.

    So errors are those of `plain`.
    """
    program = jax.jit(f, static_argnums=static_argnums)

    @functools.wraps(f)
    def run(*args, **kwargs):
        held = [args[i] for i in static_argnums if i < len(args)]
        if all(map(_told_apart, held)) and all(map(_told_apart, kwargs.values())):
            try:
                return program(*args, **kwargs)
            except Exception:
                pass  # or what `plain` raises would come with a tale
        return plain(*args, **kwargs)

    return run


def _told_apart(a):
    """Whether JAX tells what is held fixed from all else: (1, 1) it takes for (1, 1.0)."""
    return not isinstance(a, tuple) or all(n is None or type(n) is int for n in _flat(a))


def _flat(a):
    return [n for part in a for n in (_flat(part) if isinstance(part, tuple) else [part])]
