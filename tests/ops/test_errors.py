"""Wrong input to every op: an error at once that says what is needed and what came.

Each mistake is made three ways: as it is, under `jax.jit` and under `jax.grad`; nothing is
compiled for it. JAX appends notes of its own to messages, so none is matched to its end.
"""

import functools
import importlib
import inspect
import pkgutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import funcnn.ops
from tests.support.combinations import combinations
from tests.support.mistakes import norms, others, products, scores, windows
from tests.support.mistakes.common import KEY

NAMES = [m.name.removeprefix("_") for m in pkgutil.iter_modules(funcnn.ops.__path__)]
MODULES = {name: importlib.import_module(f"funcnn.ops._{name}") for name in NAMES}
OPS = {name: getattr(module, name) for name, module in MODULES.items()}


def is_float(a):
    return isinstance(a, np.ndarray | jax.Array) and jnp.issubdtype(a.dtype, jnp.floating)


def ways(op, args):
    """The same call three ways, floating-point arrays traced where something traces."""
    slots = [i for i, a in enumerate(args) if is_float(a)]
    floats = [jnp.asarray(args[i]) for i in slots]

    def call(floats, one):
        full = list(args)
        for i, a in zip(slots, floats, strict=True):
            full[i] = a
        return one * jnp.sum(op(*full)).astype(one.dtype)

    one = jnp.ones(())
    return {
        "plain": lambda: op(*args),
        "jit": lambda: jax.eval_shape(jax.jit(call), floats, one),
        "grad": lambda: jax.grad(call, argnums=(0, 1))(floats, one),
    }


def fails(kind, message, op, args):
    for way, call in ways(op, args).items():
        with pytest.raises((TypeError, ValueError), match=message) as caught:
            call()
        assert caught.type is kind, way


# Arrays that are none, for every op and every floating-point argument


@functools.cache
def first_case(name):
    rng = np.random.default_rng(0)
    return next(iter(getattr(MODULES[name], f"{name}_cases")(rng).values()))


def parameters(name):
    return list(inspect.signature(OPS[name]).parameters)


ARRAYS = [
    f"{name}: {parameters(name)[i]}"
    for name in NAMES
    for i, a in enumerate(first_case(name))
    if is_float(a)
]
WRONG = {
    "int": lambda a: a.astype(int),
    "bool": lambda a: a > 0,
    "complex": lambda a: a.astype(complex),
    "list": lambda a: a.tolist() if a.ndim else [a.item()],
    "tuple": lambda a: tuple(a) if a.ndim else (a,),
    "dict": lambda a: {"a": a},
    "key": lambda a: KEY,
}
# what custom_vjp refuses before it calls an op
REFUSED = {
    "str": lambda a: "abc",
    "array of str": lambda a: np.full(a.shape, "abc"),
    "array of objects": lambda a: np.full(a.shape, None),
    "function": lambda a: np.cos,
}


def spoiled(array, wrong):
    """An op, the name of an array that it takes, and its first case's arguments without."""
    name, parameter = array.split(": ")
    i, args = parameters(name).index(parameter), first_case(name)
    return name, parameter, [*args[:i], wrong(args[i]), *args[i + 1 :]]


@combinations("array, wrong", ARRAYS, WRONG, quick=3)
def test_what_is_no_array_of_floats(array, wrong):
    name, parameter, args = spoiled(array, WRONG[wrong])
    kind, message = TypeError, rf"^{name} needs (\w+ )?{parameter}\b.*; got "
    if parameter == "labels" and wrong == "int":
        kind, message = ValueError, rf"^{name} needs integer labels of shape .*; got "
    fails(kind, message, OPS[name], args)


@combinations("array, wrong", ARRAYS, REFUSED, quick=5)
def test_what_is_no_array_to_jax(array, wrong):
    name, _, args = spoiled(array, REFUSED[wrong])
    message = r"is not a valid JAX (array )?type|needs \w+ to be an array; got ndarray"
    fails(TypeError, message, OPS[name], args)


# Everything else, op by op

MISTAKES = {}
for topic in (products, windows, norms, scores, others):
    MISTAKES |= topic.MISTAKES


@pytest.mark.parametrize(
    "name, kind, message, args",
    [
        pytest.param(name, kind, message, args, id=f"{name}: {mistake}")
        for name, mistakes in MISTAKES.items()
        for mistake, (kind, message, *args) in mistakes.items()
    ],
)
def test_mistake(name, kind, message, args):
    fails(kind, f"^{name} .*{message}", OPS[name], args)


def test_every_exported_op_has_its_mistakes():
    exported = {name for name in vars(funcnn.ops) if not name.startswith("_")}
    assert set(MISTAKES) == exported
