"""A function in, the same function out: traced once, and what it calls inlined.

JAX traces a function again for each transformation of it, and the functions that it calls
a second time, by themselves. Run from its jaxpr, with the calls inlined, a function is
transformed several times as fast.
"""

import jax

from funcnn.verify.functions._autodiff import open_jaxpr

CALLS = {"jit", "pjit", "closed_call", "core_call"}


def inlined(f):
    """`f` of arrays alone, with its custom rules, without calls of jitted functions."""
    traced: dict = {}

    def g(*args):
        leaves, tree = jax.tree.flatten(args)
        types = tuple((a.shape, a.dtype) for a in leaves)
        if types not in traced:
            abstract = [jax.ShapeDtypeStruct(*kind) for kind in types]
            closed, shape = jax.make_jaxpr(f, return_shape=True)(
                *jax.tree.unflatten(tree, abstract)
            )
            traced[types] = closed, jax.tree.structure(shape)
        closed, tree = traced[types]
        return jax.tree.unflatten(tree, _run(closed, leaves))

    return g


def _run(closed, args):
    jaxpr, consts = open_jaxpr(closed), getattr(closed, "consts", ())
    env = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *args], strict=True))

    def read(v):
        return v.val if hasattr(v, "val") else env[v]

    for eqn in jaxpr.eqns:
        env.update(zip(eqn.outvars, _step(eqn, [read(v) for v in eqn.invars]), strict=True))
    return [read(v) for v in jaxpr.outvars]


def _step(eqn, values):
    name, p = eqn.primitive.name, eqn.params
    if name in CALLS:
        (closed,) = (p[k] for k in ("jaxpr", "call_jaxpr") if k in p)
        return _run(closed, values)
    if name == "cond" and not isinstance(values[0], jax.core.Tracer):
        return _run(p["branches"][int(values[0])], values[1:])
    with eqn.ctx.manager:
        if name == "platform_index":  # known, unless the program is for several platforms
            with jax.ensure_compile_time_eval():
                return [eqn.primitive.bind(**p)]
        out = eqn.primitive.bind(*values, **eqn.primitive.get_bind_params(p))
    return out if eqn.primitive.multiple_results else [out]
