"""A batch that is spread over devices stays so through every op and its pullback.

It is forward and backward what it is on one device, with sums over devices, all-reduces,
and nothing else that is exchanged.
"""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from funcnn import verify
from funcnn.foundation._mesh import batch_over
from tests.support.on_devices.collectives import collectives, sources

WHOLE = {"weight", "bias", "scale", "offset", "table", "key"}
PRODUCTS = {"dot", "matmul", "tensordot"}  # of arrays in no particular role
EVERY_CASE = {"conv", "conv_transpose", "avg_pool", "group_norm"}
MANY = 2**14  # numbers, so that formulations for many are chosen


def spread(op, args):
    """The arguments with as many examples as there must be, and which have them."""
    names = inspect.signature(op.reference).parameters
    lead = first(op, args)
    count = len(lead)
    more = -(-max(MANY // (lead.size // count), 1) // 8) * 8
    given, over = [], []
    for name, a in zip(names, args, strict=False):
        if isinstance(a, np.ndarray) and a.dtype == np.float64:
            a = a.astype(np.float32)
        has = has_examples(name, a) and len(a) == count
        if name == "shape":  # of images
            a = (more, *a[1:])
        given.append(np.resize(a, (more, *a.shape[1:])) if has else a)
        over.append(has)
    return given, over


def first(op, args):
    """The first of the arguments with examples."""
    names = inspect.signature(op.reference).parameters
    return next((a for n, a in zip(names, args, strict=False) if has_examples(n, a)), None)


def has_examples(name, a):
    return name not in WHOLE and isinstance(a, np.ndarray) and a.ndim > 0


def pullback(op, args):
    """A function of the arrays in `args`: the op's value and all its cotangents."""
    arrays = [i for i, a in enumerate(args) if hasattr(a, "dtype")]
    floats = [i for i in arrays if jnp.issubdtype(args[i].dtype, jnp.floating)]

    def f(*given):
        full = list(args)
        for i, a in zip(arrays, given, strict=True):
            full[i] = a

        def of_floats(*given):
            now = list(full)
            for i, a in zip(floats, given, strict=True):
                now[i] = a
            return op.apply(*now)

        y, pull = jax.vjp(of_floats, *(full[i] for i in floats))
        return y, pull(jax.tree.map(lambda a: jnp.cos(a).astype(a.dtype), y))

    return f, [args[i] for i in arrays], arrays


def check(cases, kind, trace_only=False):
    """Check many cases in one program: name, op and arguments of each."""
    fs, given, placed = {}, {}, {}
    mesh = jax.make_mesh((8,), ("data",), axis_types=(kind,))
    for name, (op, args) in cases.items():
        args, over = spread(op, args)
        fs[name], given[name], places = pullback(op, args)
        placed[name] = [
            jax.device_put(a, NamedSharding(mesh, P("data") if over[i] else P()))
            for a, i in zip(given[name], places, strict=True)
        ]

    def all_of_them(arrays):
        found = {}
        for name, f in fs.items():
            with jax.named_scope(name):
                found[name] = f(*arrays[name])
        return found

    auto = kind == AxisType.Auto
    with batch_over(mesh.abstract_mesh, ("data",)) if auto else jax.set_mesh(mesh):
        traced = jax.jit(all_of_them).trace(placed)
        if trace_only:
            return
        compiled = traced.lower().compile()
    want = jax.jit(all_of_them)(given)
    others = {k: sources(compiled, k) for k in collectives(compiled) if k != "all-reduce"}
    assert not others, f"{kind}: {others}"
    got = compiled(placed)
    for name in fs:
        compare(got[name], want[name], f"{name}, {kind}")


def compare(got, want, name):
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        a, b = np.asarray(a), np.asarray(b)
        atol = 1e-5 * max(abs(b).max(), 1)
        np.testing.assert_allclose(a, b, 1e-4, atol, err_msg=name)


def cases_of(op):
    """Those with examples, by name."""
    with jax.enable_x64(True):
        cases = op.cases(np.random.default_rng(0))
    return {
        f"{op.name}, {name}": (op, args)
        for name, args in cases.items()
        if all(a.size for a in args if isinstance(a, np.ndarray))
        and np.ndim(first(op, args)) > 1
    }


def main(folder, thorough):
    """The first case of each op, and thoroughly every case of those that look at meshes.

    Where types say how arrays are spread it is tracing that fails: no more is quick.
    """
    del folder
    by_op = {op.name: cases_of(op) for op in verify.discover()}
    firsts = {op: dict(list(cases.items())[:1]) for op, cases in by_op.items()}
    checked = 0
    for kind in (AxisType.Auto, AxisType.Explicit):
        together: dict = {}
        for op in by_op:
            if kind == AxisType.Explicit and op in PRODUCTS:
                continue
            if kind == AxisType.Auto and thorough and op in EVERY_CASE:
                check(by_op[op], kind)
                checked += len(by_op[op])
            else:
                together |= firsts[op]
        check(together, kind, trace_only=not thorough and kind == AxisType.Explicit)
        checked += len(together)
    assert checked > (80 if thorough else 40), checked
