"""What a user names on the command line: found, or refused with a reason."""

import difflib
import importlib
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path

import jax

from funcnn.verify.check._check import check_vjp
from funcnn.verify.functions._spec import arguments
from funcnn.verify.functions._split import is_float
from funcnn.verify.report._report import Report, Row

# Files that tell a user nothing: importlib's, JAX's and the verifier's own.
ALIEN = tuple(Path(file).parent for file in (importlib.__file__, jax.__file__, __file__))


def known(kind: str, names: Iterable[str], there: Iterable[str]) -> None:
    """Refuse names that are none of those there are.

    Raises:
        ValueError: with those that come close, or all.
    """
    for name in names:
        if name not in there:
            raise ValueError(f"there is no {kind} {name!r}; {_meant(name, there)}")


def checker(target, reference, spec, seed, claims) -> Callable[[], Report]:
    """A check of the function `target`, which is `module:function`, as a function.

    Raises:
        ValueError: saying what cannot be found or read.
    """
    f = _load(target)
    definition = _load(reference) if reference else None
    if spec is None:
        raise ValueError(f"{target} needs --args, such as --args 'f32[4,8] f32[8]'")
    try:
        args = arguments(spec, seed)
    except ValueError as error:
        raise ValueError(f"--args: {error}") from None
    if not any(map(is_float, jax.tree.leaves(args))):
        raise ValueError("--args has no array of floats, so there is no gradient to check")
    name = target.partition(":")[2]

    def check():
        try:
            return check_vjp(
                f, *args, reference=definition, name=name, seed=seed, claims=claims
            )
        except Exception as error:  # a function may raise anything
            failure = f"{name} cannot be judged: {_told(error)}"
            return Report(name, (Row(name, "", "call", float("inf"), failure),))

    return check


def _load(target):
    """Import the function that `module:function` names."""
    module, _, path = target.partition(":")
    if not module or not path:
        raise ValueError(f"{target!r} is no module:function")
    if "/" in module or module.endswith(".py"):
        dotted = module.removesuffix(".py").strip("./").replace("/", ".")
        raise ValueError(f"{target} is a path; modules are named as in {dotted}:{path}")
    try:
        found = importlib.import_module(module)
    except Exception as error:  # a module may raise anything
        raise ValueError(f"cannot import {module}: {_told(error)}") from error
    for name in path.split("."):
        if not hasattr(found, name):
            there = [n for n in dir(found) if not n.startswith("_")]
            raise ValueError(f"{module} has no {path}; {_meant(name, there)}")
        found = getattr(found, name)
    if not callable(found):
        raise ValueError(f"{target} cannot be called: it is of type {type(found).__name__}")
    return found


def _told(error):
    """What an exception says, in a line, and where in the user's files it came from."""
    lines = str(error).strip().splitlines()
    told = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        if path.is_file() and not any(map(path.is_relative_to, ALIEN)):
            return f"{told} ({path.name}, line {frame.lineno})"
    return told


def _meant(name, there):
    close = difflib.get_close_matches(name, there)
    if close:
        return f"did you mean {' or '.join(close)}?"
    return f"there are {', '.join(there)}"
