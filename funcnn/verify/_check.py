"""Ways to ask for a verdict: on one function, on the ops, on a whole model."""

import functools
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np

from funcnn.verify._autodiff import autodiff
from funcnn.verify._claims import CLAIMS, agree, first_line, slope_agrees
from funcnn.verify._differences import directions, slopes
from funcnn.verify._evidence import Evidence
from funcnn.verify._report import Report, Row
from funcnn.verify._subject import Op, cast, discover, problem, pullback


def check_vjp(
    f: Callable,
    *args,
    reference: Callable | None = None,
    name: str | None = None,
    seed: int = 0,
) -> Report:
    """Judge a function's hand-written derivative rule on one set of arguments.

    Floating-point arrays in `args`, also inside pytrees, are differentiated, in float64;
    everything else is held fixed. See the verification page for what each claim says.

    Args:
        f: a function with a `jax.custom_vjp` in it.
        *args: its arguments, small arrays of ordinary and of difficult numbers, away
            from defaults such as scale 1 and offset 0.
        reference: the definition, of the same arguments, differentiable by JAX and with
            no custom rule. None means `autodiff(f)`: what `f` computes, rules ignored.
        name: what to call `f` in the report.
        seed: of the random cotangents and directions.

    Returns:
        A Report with one row a claim.

    Raises:
        TypeError: if there is nothing to differentiate in `args`, or in the output.
    """
    name = name or _name(f)
    op = Op(name, f, reference or autodiff(f), lambda rng: {})
    return Report(name, tuple(judge(op, "", args, seed, literal=False)))


def check_ops(
    names: Iterable[str] = (),
    seed: int = 0,
    progress: Callable[[int, int], object] | None = None,
) -> Report:
    """Judge the ops of funcnn, all of them or those named, on all of their cases.

    Args:
        names: of ops; empty means all.
        seed: of the cases' random numbers, the cotangents and the directions.
        progress: called as `progress(done, total)` after each case.

    Returns:
        A Report with one row for each op, case and claim.

    Raises:
        ValueError: if there is no op of some name.
    """
    ops = {op.name: op for op in discover()}
    names = list(names) or list(ops)
    if unknown := [name for name in names if name not in ops]:
        raise ValueError(
            f"There is no op {', '.join(map(repr, unknown))}; the ops are {', '.join(ops)}."
        )
    with jax.enable_x64(True):
        tasks = [
            (ops[name], case, args)
            for name in names
            for case, args in ops[name].cases(np.random.default_rng(seed)).items()
        ]
    # XLA compiles outside Python's lock, so threads share the work.
    rows: list[Row] = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        verdicts = pool.map(lambda task: judge(task[0], task[1], task[2], seed), tasks)
        for done, found in enumerate(verdicts, start=1):
            rows += found
            if progress:
                progress(done, len(tasks))
    title = f"{len(names)} op{'s' * (len(names) != 1)}, {len(tasks)} cases"
    return Report(title, tuple(rows))


def judge(
    op: Op, case: str, args, seed: int = 0, claims=CLAIMS, literal: bool = True
) -> list[Row]:
    """Claims about one op on one case: all of them, or a dict of some.

    `literal` asks that forward mode over the pullback works as it is, which it does not
    for a rule whose forward pass calls the function itself.
    """
    rows = []
    with jax.enable_x64(True):
        evidence = Evidence(op, cast(args, jnp.float64), seed, claims, literal)
        for name, claim in claims.items():
            try:
                rows.append(Row(op.name, case, name, claim(evidence)))
            except AssertionError as false:
                rows.append(Row(op.name, case, name, float("inf"), str(false)))
            except Exception as error:  # a rule may raise anything
                failure = f"{op.name} raises {type(error).__name__}: {first_line(error)}"
                rows.append(Row(op.name, case, name, float("inf"), failure))
    return rows


def compare(loss: Callable, *args, seed: int = 0) -> Report:
    """Compare a whole model's hand-written gradient with autodiff's, leaf by leaf.

    Three gradients of `loss(*args)` are taken in float64: with every custom rule in
    force, with all of them ignored, and from function values alone, along a few random
    directions a leaf.

    Args:
        loss: returns a scalar, or a pair of a scalar and anything else.
        *args: its arguments. Floating-point arrays in them, also inside pytrees, are
            differentiated; everything else is held fixed.
        seed: of the random directions.

    Returns:
        A Report with a row for each leaf and claim, named by the leaf's path: `value` of
        the loss, gradient against autodiff (`vjp`) and against differences (`diff`).

    Raises:
        TypeError: if there is nothing to differentiate.
        ValueError: if the loss is not a scalar.
    """

    @functools.wraps(loss)
    def scalar(*args):
        y = loss(*args)
        y = y[0] if isinstance(y, tuple) else y
        if jnp.shape(y) != ():
            raise ValueError(f"compare needs a scalar loss; got shape {jnp.shape(y)}.")
        return y

    with jax.enable_x64(True):
        args = cast(args, jnp.float64)
        mine, plain = problem(scalar, args), problem(autodiff(scalar), args)
        leaves = [jnp.asarray(leaf) for leaf in mine.leaves]
        if not leaves:
            raise TypeError("compare needs a floating-point array in its arguments.")
        one = [jnp.ones(())]
        value, got = jax.jit(lambda x: (mine.f(*x), pullback(mine.f, x, one)))(leaves)
        wanted, want = jax.jit(lambda x: (plain.f(*x), pullback(plain.f, x, one)))(leaves)
        d = directions(leaves, seed, limit=4)
        products, s = slopes(mine.f, leaves, one, d)

    def claim(subject, name, judged, *arguments):
        try:
            return Row(subject, "", name, judged(*arguments))
        except AssertionError as failure:
            return Row(subject, "", name, float("inf"), str(failure))

    title = _name(loss)
    rows = [claim(title, "value", agree, title, value[0], wanted[0])]
    for i, leaf in enumerate(mine.names):
        what = f"the gradient of {leaf}"
        rows.append(claim(leaf, "vjp", agree, what, got[i], want[i]))
        rows.append(claim(leaf, "diff", slope_agrees, what, d.leaf == i, products, s))
    return Report(f"{title}, {len(leaves)} leaves", tuple(rows))


def _name(f) -> str:
    return str(getattr(f, "__name__", type(f).__name__))
