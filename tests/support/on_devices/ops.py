"""A batch that is spread over devices stays so through every op and its pullback.

It is forward and backward what it is on one device, with sums over devices, all-reduces,
and nothing else that is exchanged.
"""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
from collectives import collectives
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from funcnn import verify
from funcnn.foundation._mesh import batch_over

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


def check(op, case, args, kind):
    args, over = spread(op, args)
    f, arrays, places = pullback(op, args)
    want = jax.jit(f)(*arrays)
    mesh = jax.make_mesh((8,), ("data",), axis_types=(kind,))
    given = [
        jax.device_put(a, NamedSharding(mesh, P("data") if over[i] else P()))
        for a, i in zip(arrays, places, strict=True)
    ]
    auto = kind == AxisType.Auto
    with batch_over(mesh.abstract_mesh, ("data",)) if auto else jax.set_mesh(mesh):
        compiled = jax.jit(f).lower(*given).compile()
    name = f"{op.name}, {case}, {kind}"
    found = collectives(compiled)
    assert set(found) <= {"all-reduce"}, f"{name}: {found}"
    for a, b in zip(jax.tree.leaves(compiled(*given)), jax.tree.leaves(want), strict=True):
        a, b = np.asarray(a), np.asarray(b)
        atol = 1e-5 * max(abs(b).max(), 1)
        np.testing.assert_allclose(a, b, 1e-4, atol, err_msg=name)


def main():
    checked = 0
    for op in verify.discover():
        with jax.enable_x64(True):
            cases = op.cases(np.random.default_rng(0))
        cases = {
            name: args
            for name, args in cases.items()
            if all(a.size for a in args if isinstance(a, np.ndarray))
            and np.ndim(first(op, args)) > 1
        }
        for i, case in enumerate(cases):
            if i == 0 or op.name in EVERY_CASE:
                check(op, case, cases[case], AxisType.Auto)
                checked += 1
            if i == 0 and op.name not in PRODUCTS:
                check(op, case, cases[case], AxisType.Explicit)
                checked += 1
    assert checked > 80, checked
    print("as it should be")


if __name__ == "__main__":
    main()
