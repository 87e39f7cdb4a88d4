"""Comes in: a layer, or an argument of one. Goes out: code that makes it, in 80 columns."""

from collections.abc import Callable
from keyword import iskeyword
from typing import Any

import jax.numpy as jnp
from jax.nn import initializers

from funcnn.layers.protocol._made import is_dtype, made

WIDTH = 80


def code(value: Any, width: int | None = WIDTH) -> str:
    """`value` as code, in lines of `width` columns where that can be; None is one line."""
    call = made(value)
    if call is None:
        return word(value)
    named = [named_argument(*item) for item in call.kwargs.items()]
    arguments = [("", a, "") for a in call.args] + named
    head = f"{name(call.by)}("
    line = ", ".join(before + code(a, None) + after for before, a, after in arguments)
    if width is None or len(head) + len(line) + 1 <= width:
        return f"{head}{line})"
    lines = [
        before + code(a, width - 4 - len(before + after) - 1) + after
        for before, a, after in arguments
    ]
    inner = "".join(f"{text},\n" for text in lines)
    return head + "\n" + indented(inner) + ")"


def named_argument(argument, value):
    """What comes before an argument given by name, the argument, and what comes after."""
    if argument.isidentifier() and not iskeyword(argument):
        return f"{argument}=", value, ""
    return f"**{{{argument!r}: ", value, "}"


def word(value: Any) -> str:
    """What is not made by a call, on one line."""
    if isinstance(value, tuple | list):
        inner = ", ".join(code(a, None) for a in value)
        if isinstance(value, list):
            return f"[{inner}]"
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    if is_dtype(value):
        return repr(jnp.dtype(value).name)
    return name(value) if callable(value) else repr(value)


def name(f: Callable) -> str:
    """A function's name, and that of its module if it is an initializer of JAX's."""
    known = getattr(f, "__qualname__", None) or getattr(f, "__name__", None)
    if known is None:
        return repr(f)
    inside = getattr(initializers, known, None) is f
    return f"initializers.{known}" if inside else known.replace("<locals>.", "")


def indented(text: str) -> str:
    """Each line four columns further right."""
    return "".join(f"    {line}" for line in text.splitlines(keepends=True))
