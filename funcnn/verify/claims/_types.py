"""The shapes and dtypes of cotangents, told by tracing alone.

JAX checks the shapes that a backward rule returns, but not the dtypes.
"""

import jax
import jax.numpy as jnp
import numpy as np

from funcnn.verify.claims._case_numbers import CaseNumbers
from funcnn.verify.claims._compare_arrays import ClaimFails
from funcnn.verify.faults._diagnosis import shape_fault
from funcnn.verify.functions._autodiff import is_array
from funcnn.verify.functions._cotangents import pullback
from funcnn.verify.functions._phrases import said
from funcnn.verify.functions._split import is_float, problem


def as_given(e: CaseNumbers):
    """Differentiate in all arrays, integers too, in the dtypes given."""
    flat, tree = jax.tree_util.tree_flatten_with_path(e.args)
    full = [leaf for _, leaf in flat]
    slots = [i for i, leaf in enumerate(full) if _is_traced(leaf, e.exact.split.concrete)]
    found: list = []

    def trace(*arrays):
        def f(*arrays):
            leaves = list(full)
            for i, a in zip(slots, arrays, strict=True):
                leaves[i] = a
            outputs = e.op.apply(*jax.tree.unflatten(tree, leaves))
            return [y for y in jax.tree.leaves(outputs) if is_array(y)]

        ys, back = jax.vjp(f, *arrays)
        found.extend((ct.shape, ct.dtype) for ct in back([_zeros(y) for y in ys]))
        return ()

    try:
        with jax.enable_x64(e.x64):
            jax.eval_shape(trace, *(full[i] for i in slots))
    except Exception as error:  # a rule may raise anything
        fault = shape_fault(str(error))
        raise ClaimFails(f"{e.op.name} raises {said(error)}.", fault=fault) from None
    for i, (shape, dtype) in zip(slots, found, strict=True):
        path, leaf = flat[i]
        counted = jnp.issubdtype(leaf.dtype, jnp.inexact)
        want = leaf.dtype if counted else jax.dtypes.float0
        if (shape, dtype) != (leaf.shape, want):
            name = e.parameters[path[0].idx] + jax.tree_util.keystr(path[1:])
            raise ClaimFails(
                f"{e.op.name}: the cotangent of {name} is {_type(dtype)}{shape}, should be "
                f"{_type(want)}{leaf.shape}.",
                name,
                fault=None if counted else "what has no derivative gets None or float0",
            )


def in_every_mix(e: CaseNumbers):
    """In every mix of bfloat16 and float32 that the function itself takes."""
    p = problem(e.op.apply, e.args)
    low, high, count = jnp.bfloat16, jnp.float32, len(p.leaves)
    mixes = [[low] * count, [high] * count]
    mixes += [[low] * i + [high] + [low] * (count - i - 1) for i in range(count)]
    for mix in dict.fromkeys(map(tuple, mixes)):
        pairs = zip(p.leaves, mix, strict=True)
        args = [jax.ShapeDtypeStruct(a.shape, dtype) for a, dtype in pairs]
        with jax.enable_x64(e.x64):
            cts = _cotangent_types(p.f, args)
        if cts is None:
            continue
        for name, a, ct in zip(e.names, args, cts, strict=True):
            if (ct.shape, ct.dtype) != (a.shape, a.dtype):
                raise ClaimFails(
                    f"{e.op.name}: the cotangent of {name} is {ct.dtype}{ct.shape}, should "
                    f"be {a.dtype}{a.shape}, for arguments in "
                    f"{', '.join(b.dtype.name for b in args)}.",
                    name,
                )


def _cotangent_types(f, args):
    """The shapes and dtypes of cotangents, or None if `f` does not take such arguments."""

    def both(args):
        ys, back = jax.vjp(f, *args)
        return back([jnp.zeros_like(y) for y in ys])

    try:
        return list(jax.eval_shape(both, args))
    except Exception:  # of the function or of its rule: these two in turn tell which
        try:
            dys = jax.eval_shape(f, *args)
        except (TypeError, ValueError):
            return None
        return jax.eval_shape(lambda args, dys: pullback(f, args, dys), args, dys)


def _is_traced(leaf, concrete):
    if not is_array(leaf) or jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return False
    return is_float(leaf) or not (concrete or isinstance(leaf, np.generic))


def _type(dtype):
    return "float0" if dtype == jax.dtypes.float0 else dtype


def _zeros(y):
    dtype = jnp.result_type(y)
    counted = jnp.issubdtype(dtype, jnp.inexact)
    return np.zeros(jnp.shape(y), dtype if counted else jax.dtypes.float0)
