"""A function with its custom derivative rules erased."""

import copy
import functools

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal, jaxpr_as_fun

RULES = ("custom_jvp_call", "custom_vjp_call")
# The forms that rules take where JAX has them as primitives of higher types.
HIGH_RULES = ("CustomJVPTraced", "CustomVJPTraced")
# Parameters that are functions, traced only when the equation is transformed: the batching
# rule of custom_vmap, and what custom_root solves and how.
FUNCTIONS = ("rule", "f", "solve", "tangent_solve")
# The classes that a user's primitives of higher types are of, in JAX 0.10 and 0.12.
HIGH = ("VJPHiPrimitive", "HiPrim")


def autodiff(f):
    """Return `f` with every custom rule in it ignored.

    The result computes what `f` computes, and is differentiated by JAX alone, so `jvp`,
    `linearize`, `jacfwd` and `hessian` work on it. Rules are ignored wherever they are: in
    layers, in third-party functions, and inside jit, scan, while, cond, checkpoint, vmap
    and shard_map; so are those of primitives of your own in `jax.experimental.hijax`, which
    say by `expand` what they compute. A rule's own forward pass is not used either, only
    the function that it decorates.

    What it cannot do: derivatives that `f` itself takes are taken by the rules. Where a
    function has a rule because JAX cannot differentiate it, or not well (a Pallas kernel,
    a while loop in reverse mode, `jnp.linalg.pinv` at equal singular values), JAX raises
    or returns NaN. `jax.lax.custom_root` and `custom_linear_solve` are definitions, not
    rules, and keep their derivatives; before JAX 0.12 so do rules inside the equation
    that `custom_root` solves. Other primitives of your own are primitives.

    Args:
        f: a function that JAX can trace. Array arguments, also inside pytrees, are traced;
            all else (Python numbers, strings, functions) is held fixed.

    Returns:
        A pure function of the same arguments, with the same results; what is no JAX array
        in them is returned as it is. `f` is traced again in each call, so jit the
        function if it is called often.
    """

    @functools.wraps(f)
    def plain(*args, **kwargs):
        args = with_plain_numbers(f, args)
        leaves, tree = jax.tree.flatten((args, kwargs))
        slots = [i for i, leaf in enumerate(leaves) if is_array(leaf)]
        returned: list = []

        def traced(*arrays):
            full = list(leaves)
            for i, a in zip(slots, arrays, strict=True):
                full[i] = a
            args, kwargs = jax.tree.unflatten(tree, full)
            outputs, out_tree = jax.tree.flatten(f(*args, **kwargs))
            computed = [y for y in outputs if isinstance(y, jax.Array)]
            static = [None if isinstance(y, jax.Array) else y for y in outputs]
            returned[:] = static, out_tree
            return computed

        arrays = [leaves[i] for i in slots]
        jaxpr = jax.make_jaxpr(traced)(*arrays)
        computed = iter(jaxpr_as_fun(_erase_param(jaxpr, {}))(*arrays))
        static, out_tree = returned
        outputs = [next(computed) if y is None else y for y in static]
        return jax.tree.unflatten(out_tree, outputs)

    return plain


def is_array(leaf):
    """Whether `leaf` is an array, traced or not, rather than a static value."""
    return isinstance(leaf, jax.Array | np.ndarray | np.generic)


def with_plain_numbers(f, args):
    """Arguments, those in a rule's `nondiff_argnums` as Python numbers if NumPy scalars.

    A NumPy scalar counts as an array, and would be traced, which such a rule does not take.
    """
    fixed = held_fixed(f)

    def plain(leaf):
        return leaf.item() if isinstance(leaf, np.generic) else leaf

    return tuple(jax.tree.map(plain, a) if i in fixed else a for i, a in enumerate(args))


def held_fixed(f) -> set[int]:
    """The arguments that a function with a rule does not differentiate, if it says so."""
    shift = 0
    while not isinstance(f, jax.custom_vjp | jax.custom_jvp):
        if isinstance(f, functools.partial):
            shift, f = shift + len(f.args), f.func
        elif (inner := getattr(f, "__wrapped__", None)) is not None:
            f = inner
        else:
            return set()
    return {i - shift for i in f.nondiff_argnums if i >= shift}


def has_rule(jaxpr) -> bool:
    """Whether a custom rule is called anywhere in `jaxpr`."""
    seen = set()

    def search(jaxpr):
        if jaxpr in seen:
            return False
        seen.add(jaxpr)
        return any(
            _decorated(eqn) is not None or any(map(search, jaxprs(eqn.params)))
            for eqn in jaxpr.eqns
        )

    return search(open_jaxpr(jaxpr))


def jaxprs(params):
    params = params, getattr(params.get("_prim"), "params", ())
    leaves = jax.tree.leaves(params, is_leaf=lambda p: isinstance(p, Jaxpr | ClosedJaxpr))
    return [open_jaxpr(p) for p in leaves if isinstance(p, Jaxpr | ClosedJaxpr)]


def open_jaxpr(jaxpr):
    return getattr(jaxpr, "jaxpr", jaxpr)


def _decorated(eqn):
    """The jaxpr of the function that has a rule, if `eqn` calls one."""
    high = eqn.params.get("_prim")
    if type(high).__name__ in HIGH_RULES:
        return high.traced.jaxpr
    if of_a_user(high):
        return _expanded(high)
    if eqn.primitive.name not in RULES:
        return None
    body = eqn.params["call_jaxpr"]
    # Before JAX 0.12 custom_root, which is no rule but a definition, looks like one.
    return None if body.debug_info.func_name == "_custom_root" else body


def of_a_user(high):
    """Whether it is a primitive of higher types that has rules of its own.

    JAX has some, too, which are no rules, and one that is a map over another.
    """
    if type(high).__name__ == "VmapOf":
        return of_a_user(high.prim)
    kinds = type(high).__mro__
    own = not type(high).__module__.startswith("jax.")
    return own and any(kind.__name__ in HIGH for kind in kinds)


def _expanded(high):
    """What such a primitive says that it is, in terms of others."""

    def flat(*args):
        return jax.tree.leaves(high.expand(*jax.tree.unflatten(high.in_tree, args)))

    return jax.make_jaxpr(flat)(*high.in_avals_flat)


def _erase(jaxpr, memo):
    """Put the body of each function that has a rule in place of its call.

    What holds no rule stays the same object, so that JAX knows it has compiled it.
    """
    if jaxpr not in memo:
        eqns: list = []
        env: dict = {}
        for eqn in jaxpr.eqns:
            _emit(eqn, env, eqns, memo)
        outvars = [_read(v, env) for v in jaxpr.outvars]
        same = _same(eqns, jaxpr.eqns)
        memo[jaxpr] = jaxpr if same else jaxpr.replace(eqns=eqns, outvars=outvars)
    return memo[jaxpr]


def _emit(eqn, env, eqns, memo, inlined=False):
    """Append to `eqns` what stands for `eqn`, its variables renamed as `env` says."""
    invars = [_read(v, env) for v in eqn.invars]
    if (call := _decorated(eqn)) is not None:
        body = _erase(open_jaxpr(call), memo)
        consts = map(Literal, call.consts, [v.aval for v in body.constvars])
        scope = dict(zip([*body.constvars, *body.invars], [*consts, *invars], strict=True))
        for inner in body.eqns:
            _emit(inner, scope, eqns, memo, inlined=True)
        results = [_read(v, scope) for v in body.outvars]
        env.update(zip(eqn.outvars, results, strict=True))
        return
    params = _erase_params(eqn.params, memo)
    if inlined:  # perhaps not for the last time
        outvars = [copy.copy(v) for v in eqn.outvars]
        env.update(zip(eqn.outvars, outvars, strict=True))
        eqn = eqn.replace(invars=invars, outvars=outvars, params=params)
    elif params is not eqn.params or not _same(invars, eqn.invars):
        eqn = eqn.replace(invars=invars, params=params)
    eqns.append(eqn)


def _read(atom, env):
    return atom if isinstance(atom, Literal) else env.get(atom, atom)


def _same(new, old):
    return list(map(id, new)) == list(map(id, old))


def _erase_params(params, memo):
    erased = {k: _erase_param(p, memo, k) for k, p in params.items()}
    return params if _same(erased.values(), params.values()) else erased


def _erase_param(param, memo, name=""):
    if isinstance(param, Jaxpr | ClosedJaxpr):
        body = _erase(open_jaxpr(param), memo)
        if body is open_jaxpr(param):
            return param
        return ClosedJaxpr(body, param.consts) if hasattr(param, "consts") else body
    if isinstance(param, tuple):
        erased = [_erase_param(p, memo) for p in param]
        if _same(erased, param):
            return param
        return type(param)(*erased) if hasattr(param, "_fields") else tuple(erased)
    if name == "_prim":
        params = _erase_params(param.params, memo)
        if params is not param.params:
            param = copy.copy(param)
            vars(param).update(params, params=params)
    elif name in FUNCTIONS and callable(param):
        return autodiff(param)
    return param
