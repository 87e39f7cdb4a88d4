"""A function with its custom derivative rules erased."""

import functools

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal, Var, jaxpr_as_fun

RULES = ("custom_jvp_call", "custom_vjp_call")


def autodiff(f):
    """Return `f` with every custom rule in it ignored.

    The result computes what `f` computes, and is differentiated by JAX alone, so `jvp`,
    `linearize`, `jacfwd` and `hessian` work on it. Rules are ignored wherever they are:
    in layers, in third-party functions, and inside jit, scan, while, cond, checkpoint,
    vmap and shard_map. A rule's own forward pass is not used either, only the function
    that it decorates.

    Args:
        f: a traceable function. Array arguments, also inside pytrees, are traced; all
            else (Python numbers, strings, functions) is held fixed.

    Returns:
        A pure function of the same arguments. `f` is traced again in each call, so jit
        the result if it is called often.
    """

    @functools.wraps(f)
    def plain(*args, **kwargs):
        leaves, tree = jax.tree.flatten((args, kwargs))
        slots = [i for i, leaf in enumerate(leaves) if is_array(leaf)]

        def traced(*arrays):
            full = list(leaves)
            for i, a in zip(slots, arrays, strict=True):
                full[i] = a
            args, kwargs = jax.tree.unflatten(tree, full)
            return f(*args, **kwargs)

        arrays = [leaves[i] for i in slots]
        jaxpr, shape = jax.make_jaxpr(traced, return_shape=True)(*arrays)
        out = jaxpr_as_fun(_erase_closed(jaxpr, {}))(*arrays)
        return jax.tree.unflatten(jax.tree.structure(shape), out)

    return plain


def is_array(leaf):
    """Whether `leaf` is an array, traced or not, rather than a static value."""
    return isinstance(leaf, jax.Array | np.ndarray | np.generic)


def has_rule(jaxpr) -> bool:
    """Whether a custom rule is called anywhere in `jaxpr`."""
    return any(
        eqn.primitive.name in RULES or any(map(has_rule, _jaxprs(eqn.params)))
        for eqn in _open(jaxpr).eqns
    )


def _jaxprs(params):
    leaves = jax.tree.leaves(params, is_leaf=lambda p: isinstance(p, Jaxpr | ClosedJaxpr))
    return [p for p in leaves if isinstance(p, Jaxpr | ClosedJaxpr)]


def _open(jaxpr):
    return getattr(jaxpr, "jaxpr", jaxpr)


def _erase_closed(closed, memo):
    return ClosedJaxpr(_erase(closed.jaxpr, memo), closed.consts)


def _erase(jaxpr, memo):
    """Rewrite `jaxpr` with the body of each rule's function in place of its call."""
    if jaxpr not in memo:
        memo[jaxpr] = _inline(jaxpr, memo) if has_rule(jaxpr) else jaxpr
    return memo[jaxpr]


def _inline(jaxpr, memo):
    eqns: list = []
    env: dict = {}

    def read(atom, scope):
        return atom if isinstance(atom, Literal) else scope.get(atom, atom)

    def emit(eqn, scope, rename):
        invars = [read(v, scope) for v in eqn.invars]
        if eqn.primitive.name in RULES:
            call = eqn.params["call_jaxpr"]
            body = _erase(_open(call), memo)
            consts = [Literal(c, v.aval) for c, v in zip(call.consts, body.constvars)]  # noqa: B905
            inner = dict(
                zip([*body.constvars, *body.invars], [*consts, *invars], strict=True)
            )
            for e in body.eqns:
                emit(e, inner, rename=True)
            results = [read(v, inner) for v in body.outvars]
            scope.update(zip(eqn.outvars, results, strict=True))
            return
        params = {k: _erase_param(p, memo) for k, p in eqn.params.items()}
        outvars = eqn.outvars
        if rename:  # the body may be inlined twice
            outvars = [Var(v.aval) for v in outvars]
            scope.update(zip(eqn.outvars, outvars, strict=True))
        eqns.append(eqn.replace(invars=invars, outvars=outvars, params=params))

    for eqn in jaxpr.eqns:
        emit(eqn, env, rename=False)
    return jaxpr.replace(eqns=eqns, outvars=[read(v, env) for v in jaxpr.outvars])


def _erase_param(param, memo):
    if isinstance(param, ClosedJaxpr):
        return _erase_closed(param, memo)
    if isinstance(param, Jaxpr):
        return _erase(param, memo)
    if isinstance(param, tuple) and _jaxprs(param):
        erased = [_erase_param(p, memo) for p in param]
        return type(param)(*erased) if hasattr(param, "_fields") else tuple(erased)
    return param
