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

NAMES = [m.name.removeprefix("_") for m in pkgutil.iter_modules(funcnn.ops.__path__)]
MODULES = {name: importlib.import_module(f"funcnn.ops._{name}") for name in NAMES}
OPS = {name: getattr(module, name) for name, module in MODULES.items()}
KEY = jax.random.key(0)
NAN = float("nan")


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
    fails(TypeError, "is not a valid JAX (array )?type", OPS[name], args)


# Everything else, op by op

X = jnp.ones((2, 5, 4, 6))
W = jnp.ones((3, 2, 6, 4))
V = jnp.ones(4)
LOGITS, LABELS, PROBS = jnp.ones((3, 5)), jnp.zeros(3, int), jnp.ones((3, 5))
IMAGES = r"needs x of shape \(N, \*spatial, C\) with 1, 2 or 3 spatial axes; got "
PADDING = r"needs a padding of 'SAME', 'VALID', an int, or one \(low, high\) pair"


def windowed(size, *first):
    """Mistakes in what is passed as `(*first, size, stride, padding)`."""
    return {
        f"{size} 0": (ValueError, f"needs {size} of at least 1; got 0", *first, 0),
        f"{size} negative": (ValueError, f"needs {size} of at least 1; got -2", *first, -2),
        f"{size} float": (TypeError, f"needs an integer {size}; got 2.0", *first, 2.0),
        f"{size} str": (TypeError, f"needs an integer {size}; got 'a'", *first, "a"),
        f"{size} None": (TypeError, f"needs an integer {size}; got None", *first, None),
        f"{size} bool": (TypeError, f"needs an integer {size}; got True", *first, True),
        f"{size} of 3": (
            ValueError,
            rf"needs an int {size} or one for each of 2 spatial axes; got \(2, 2, 2\)",
            *first,
            (2, 2, 2),
        ),
        "too large": (
            ValueError,
            r"needs every spatial axis, padded, at least as long as the window's \(6, 1\)",
            *first,
            (6, 1),
            1,
            "VALID",
        ),
        **strided(*first, 2),
    }


def strided(*first):
    """Mistakes in what is passed as `(*first, stride, padding)`."""
    return {
        "stride 0": (ValueError, "needs stride of at least 1; got 0", *first, 0),
        "stride negative": (ValueError, "needs stride of at least 1; got -1", *first, -1),
        "stride float": (TypeError, "needs an integer stride; got 1.5", *first, 1.5),
        "stride float in a pair": (
            TypeError,
            "needs an integer stride; got 1.0",
            *first,
            (1, 1.0),
        ),
        "stride bool": (TypeError, "needs an integer stride; got True", *first, True),
        "stride NaN": (TypeError, "needs an integer stride; got nan", *first, NAN),
        "stride of 3": (
            ValueError,
            r"needs an int stride or one for each of 2 spatial axes; got \(1, 1, 1\)",
            *first,
            (1, 1, 1),
        ),
        "padding unknown": (ValueError, PADDING + ".*; got 'FULL'", *first, 1, "FULL"),
        "padding float": (ValueError, PADDING + ".*; got 1.5", *first, 1, 1.5),
        "padding None": (ValueError, PADDING + ".*; got None", *first, 1, None),
        "padding negative": (
            ValueError,
            "needs padding of at least 0; got -1",
            *first,
            1,
            -1,
        ),
        "padding bool": (TypeError, "needs an integer padding; got True", *first, 1, True),
        "padding of ints": (ValueError, PADDING + r".*; got \(1, 1\)", *first, 1, (1, 1)),
        "padding of 1 pair": (ValueError, PADDING + ".*; got", *first, 1, ((1, 1),)),
        "padding float in a pair": (
            TypeError,
            "needs an integer padding; got 0.5",
            *first,
            1,
            ((0, 0), (0, 0.5)),
        ),
    }


def pool():
    return {
        **windowed("window", X),
        **{f"rank {n}": (ValueError, IMAGES, jnp.ones((1,) * n), 1) for n in (0, 1, 2, 6)},
        "padding as large as the window": (
            ValueError,
            r"needs padding smaller than the window \(2, 2\); got \(\(2, 2\), \(2, 2\)\)",
            X,
            2,
            1,
            2,
        ),
    }


def dilated(*first):
    return {
        "dilation 0": (ValueError, "needs dilation of at least 1; got 0", *first, 0),
        "dilation float": (TypeError, "needs an integer dilation; got 2.0", *first, 2.0),
        "dilation of 1": (
            ValueError,
            "needs an int dilation or one for each",
            *first,
            (1,),
        ),
        "dilated beyond the image": (
            ValueError,
            r"needs every spatial axis, padded, at least as long as the window's \(5, 9\)",
            *first[:-1],
            "VALID",
            (2, 8),
        ),
    }


def axis():
    return {
        "axis beyond": (
            ValueError,
            r"needs an axis of x of shape \(3, 5\); got 2",
            LOGITS,
            2,
        ),
        "axis before": (
            ValueError,
            r"needs an axis of x of shape \(3, 5\); got -3",
            LOGITS,
            -3,
        ),
        "axis of a number": (ValueError, r"of x of shape \(\); got -1", jnp.ones(())),
        "axis float": (TypeError, "needs an integer axis; got 0.0", LOGITS, 0.0),
        "axis None": (TypeError, "needs an integer axis; got None", LOGITS, None),
        "axes": (TypeError, r"needs an integer axis; got \(0, 1\)", LOGITS, (0, 1)),
        "axis bool": (TypeError, "needs an integer axis; got True", LOGITS, True),
    }


def classified(scores):
    def labels(what, shape):
        return rf"needs {what} of shape \({shape}\) for {scores} of shape \(3, 5\); got "

    return {
        "labels short": (ValueError, labels("integer labels", "3,"), LOGITS, LABELS[:2]),
        "labels of rank 2": (
            ValueError,
            labels("integer labels", "3,"),
            LOGITS,
            LABELS[:, None],
        ),
        "labels a number": (ValueError, labels("integer labels", "3,"), LOGITS, 1),
        "probabilities short": (
            ValueError,
            labels("label probabilities", "3, 5"),
            LOGITS,
            PROBS[:, :4],
        ),
        "probabilities broadcast": (
            ValueError,
            labels("label probabilities", "3, 5"),
            LOGITS,
            PROBS[0],
        ),
        "labels bool": (
            TypeError,
            "labels of an integer or float dtype; got bool",
            LOGITS,
            PROBS > 0,
        ),
        "labels complex": (
            TypeError,
            "or float dtype; got complex",
            LOGITS,
            PROBS.astype(complex),
        ),
        "labels None": (
            TypeError,
            "needs labels to be an array; got NoneType",
            LOGITS,
            None,
        ),
        "labels a list": (
            TypeError,
            "needs labels to be an array; got list",
            LOGITS,
            [0, 1, 2],
        ),
        "no classes": (
            ValueError,
            rf"needs {scores} of shape \(\.\.\., C\) with C > 0; got \(3, 0\)",
            jnp.ones((3, 0)),
            LABELS,
        ),
        "a number": (
            ValueError,
            rf"needs {scores} of shape \(\.\.\., C\) with C > 0; got \(\)",
            jnp.ones(()),
            0,
        ),
    }


def constant(name, *first):
    return {
        f"{name} str": (TypeError, f"needs a number for {name}; got 'a'", *first, "a"),
        f"{name} None": (TypeError, f"needs a number for {name}; got None", *first, None),
        f"{name} list": (TypeError, rf"needs a number for {name}; got \[1\]", *first, [1]),
        f"{name} NaN": (ValueError, f"needs {name} .*; got nan", *first, NAN),
        f"{name} complex": (TypeError, f"needs a number for {name}; got 1j", *first, 1j),
    }


def negative(name, *first):
    return {
        **constant(name, *first),
        f"{name} negative": (
            ValueError,
            f"needs {name} of at least 0.0; got -1",
            *first,
            -1,
        ),
    }


def gate():
    return {
        "shapes": (
            ValueError,
            r"needs gate and value of the same shape; got \(3, 5\) and \(5,\)",
            LOGITS,
            LOGITS[0],
        ),
        "a number": (ValueError, r"; got \(3, 5\) and \(\)", LOGITS, 1.0),
        "None": (TypeError, "needs value to be an array; got NoneType", LOGITS, None),
    }


def share(name, *first):
    interval = rf"needs {name} in \[0.0, 1.0\]; got "
    return {
        **constant(name, *first),
        f"{name} negative": (ValueError, interval + "-0.1", *first, -0.1),
        f"{name} over 1": (ValueError, interval + "1.5", *first, 1.5),
        f"{name} infinite": (ValueError, interval + "inf", *first, float("inf")),
    }


TENSORS = jnp.ones((2, 3)), jnp.ones((3, 4))
HEAD = *TENSORS, LABELS[:2]
CAPPED = *HEAD, None, 0.0, 0.0
GROUPED = jnp.ones((2, 3, 4)), V, V
QKV = [np.random.default_rng(0).standard_normal((2, 3, 2, 4)) for _ in range(3)]

MISTAKES = {
    "avg_pool": pool(),
    "max_pool": pool(),
    "im2col": {
        **windowed("kernel_size", X),
        **dilated(X, (3, 2), 1, "SAME"),
        "rank": (ValueError, IMAGES, jnp.ones((2, 3)), 1),
    },
    "col2im": {
        **windowed("kernel_size", X, (2, 5, 4, 6)),
        **dilated(X, (2, 5, 4, 6), (3, 2), 1, "SAME"),
        "cols": (
            ValueError,
            r"needs cols of shape \(2, 5, 4, 54\) for images of shape \(2, 5, 4, 6\); got ",
            X,
            (2, 5, 4, 6),
            3,
        ),
        "shape of rank 2": (ValueError, r"needs a shape \(N, \*spatial, C\)", X, (2, 5), 3),
        "shape an int": (
            ValueError,
            r"needs a shape \(N, \*spatial, C\).*; got 5",
            X,
            5,
            3,
        ),
        "shape None": (ValueError, r"needs a shape \(N, \*spatial, C\)", X, None, 3),
        "shape of floats": (
            TypeError,
            "needs an integer shape; got 5.0",
            X,
            (2, 5.0, 4, 6),
            3,
        ),
        "shape negative": (
            ValueError,
            "needs shape of at least 0; got -5",
            X,
            (2, -5, 4, 6),
            3,
        ),
    },
    "conv": {
        **strided(X, W, V),
        **dilated(X, W, V, 1, "SAME"),
        **{
            f"x of rank {n}": (ValueError, IMAGES, jnp.ones((1,) * n), W)
            for n in (0, 1, 2, 6)
        },
        "channels": (
            ValueError,
            r"needs weight of shape \(3, 2, 6, O\) for x of shape \(2, 5, 4, 6\) and "
            r"groups 1; got \(3, 2, 5, 4\)",
            X,
            jnp.ones((3, 2, 5, 4)),
        ),
        "channels of groups": (
            ValueError,
            r"weight of shape \(3, 2, 3, O\)",
            X,
            W,
            V,
            1,
            1,
            1,
            2,
        ),
        "weight's rank": (ValueError, r"needs weight of shape \(k, k, 6, O\)", X, W[0]),
        "weight a number": (ValueError, r"needs weight of shape \(k, k, 6, O\)", X, 1.0),
        "bias short": (
            ValueError,
            r"needs bias of shape \(4,\) for weight of",
            X,
            W,
            V[:3],
        ),
        "bias of rank 2": (ValueError, r"needs bias of shape \(4,\) for", X, W, V[None]),
        "bias a number": (ValueError, r"needs bias of shape \(4,\) for", X, W, 1.0),
        "weight None": (TypeError, "needs weight to be an array; got NoneType", X, None),
        "kernel empty": (ValueError, "needs kernel_size of at least 1; got 0", X, W[:0]),
        "kernel too large": (
            ValueError,
            r"needs every spatial axis, padded, at least as long as the window's \(7, 1\)",
            X,
            jnp.ones((7, 1, 6, 4)),
            None,
            1,
            ((0, 1), (0, 0)),
        ),
        "groups not of C": (
            ValueError,
            "needs groups that divide the 6 channels of x; got 4",
            *(X, W, V, 1, "SAME", 1, 4),
        ),
        "groups not of O": (
            ValueError,
            "needs groups that divide the 4 output channels of weight; got 3",
            *(X, W[:, :, :2], V, 1, "SAME", 1, 3),
        ),
        "groups 0": (ValueError, "groups of at least 1; got 0", X, W, V, 1, "SAME", 1, 0),
        "groups negative": (
            ValueError,
            "groups of at least 1; got -2",
            X,
            W,
            V,
            1,
            1,
            1,
            -2,
        ),
        "groups float": (
            TypeError,
            "an integer groups; got 2.0",
            X,
            W,
            V,
            1,
            "SAME",
            1,
            2.0,
        ),
        "groups bool": (TypeError, "an integer groups; got True", X, W, V, 1, 1, 1, True),
    },
    "cross_entropy": {**classified("probs"), **negative("eps", PROBS, LABELS)},
    "softmax_cross_entropy": {
        **classified("logits"),
        **share("label_smoothing", LOGITS, LABELS),
        **negative("z_loss", LOGITS, LABELS, 0.1),
    },
    "attention": {
        "three axes": (
            ValueError,
            r"needs q, k and v with four axes; got shapes \(2, 3, 4\), \(2, 3, 2, 4\) and ",
            QKV[0][:, :, 0],
            *QKV[1:],
        ),
        "k narrow": (
            ValueError,
            r"needs k of shape \(2, S, K, 4\) and v of shape \(2, S, K, E\) for q of shape "
            r"\(2, 3, 2, 4\); got k \(2, 3, 2, 3\) and v \(2, 3, 2, 4\)",
            QKV[0],
            QKV[1][..., :3],
            QKV[2],
        ),
        "v short": (ValueError, r"and v \(2, 2, 2, 4\)", *QKV[:2], QKV[2][:, :2]),
        "heads": (
            ValueError,
            r"needs heads of k that divide the 2 of q; got 3",
            QKV[0],
            *(np.repeat(a[:, :, :1], 3, 2) for a in QKV[1:]),
        ),
        "mask of numbers": (
            TypeError,
            r"needs a mask of booleans; got float",
            *QKV,
            np.ones((3, 3)),
        ),
        "mask long": (
            ValueError,
            r"needs mask that broadcasts to \(B, H, T, S\) = \(2, 2, 3, 3\); got \(3, 4\)",
            *QKV,
            np.ones((3, 4), bool),
        ),
        "bias long": (
            ValueError,
            r"needs bias that broadcasts to .*; got \(1, 2, 2, 3, 3\)",
            *QKV,
            None,
            np.ones((1, 2, 2, 3, 3)),
        ),
        "scale a word": (
            TypeError,
            r"needs a number for scale; got 'big'",
            *(*QKV, None, None, False, "big"),
        ),
        "causal a number": (
            TypeError,
            r"needs a bool for causal; got 1",
            *(*QKV, None, None, 1),
        ),
        "window negative": (
            ValueError,
            r"needs window of at least 0; got -1",
            *(*QKV, None, None, False, None, -1),
        ),
        "window of three": (
            ValueError,
            r"needs a window of two sides; got \(1, 2, 3\)",
            *(*QKV, None, None, False, None, (1, 2, 3)),
        ),
        "softcap 0": (
            ValueError,
            r"needs a finite softcap above 0; got 0.0",
            *(*QKV, None, None, False, None, None, 0.0),
        ),
    },
    "linear_softmax_cross_entropy": {
        **share("label_smoothing", *HEAD, None),
        **negative("z_loss", *HEAD, None, 0.1),
        "d": (
            ValueError,
            r"needs x of shape \(\.\.\., d\) and weight of shape \(d, V\), here \(3, V\); "
            r"got x \(2, 3\) and weight \(4, 3\)",
            TENSORS[0],
            TENSORS[1].T,
            LABELS[:2],
        ),
        "x a number": (ValueError, r"here \(d, V\); got x \(\)", 1.0, *HEAD[1:]),
        "bias short": (ValueError, r"needs bias of shape \(4,\) for weight", *HEAD, V[:3]),
        "no classes": (
            ValueError,
            r"needs weight with a class; got shape \(3, 0\)",
            HEAD[0],
            HEAD[1][:, :0],
            HEAD[2],
        ),
        "labels short": (
            ValueError,
            r"needs labels of shape \(2,\) for x of shape \(2, 3\); got \(1,\)",
            *HEAD[:2],
            LABELS[:1],
        ),
        "labels of rank 2": (ValueError, r"; got \(2, 1\)", *HEAD[:2], LABELS[:2, None]),
        "probabilities": (
            TypeError,
            "needs labels of an integer dtype; got float",
            *HEAD[:2],
            jnp.ones((2, 4)),
        ),
        "labels bool": (TypeError, "dtype; got bool", *HEAD[:2], LABELS[:2] > 0),
        "labels None": (TypeError, "labels to be an array; got None", *HEAD[:2], None),
        "weight None": (
            TypeError,
            "weight to be an array; got None",
            HEAD[0],
            None,
            HEAD[2],
        ),
        "softcap 0": (ValueError, "a finite softcap above 0; got 0", *CAPPED, 0),
        "softcap infinite": (ValueError, "softcap above 0; got inf", *CAPPED, np.inf),
        "softcap negative": (ValueError, "softcap of at least 0.0; got -1", *CAPPED, -1),
        "softcap NaN": (ValueError, "softcap of at least 0.0; got nan", *CAPPED, NAN),
        "softcap str": (TypeError, "needs a number for softcap; got 'a'", *CAPPED, "a"),
        "ignore float": (TypeError, "an integer ignore; got 0.5", *CAPPED, None, 0.5),
        "ignore bool": (TypeError, "an integer ignore; got True", *CAPPED, None, True),
    },
    "dense": {
        "m": (
            ValueError,
            r"needs x of shape \(\.\.\., m\) and weight of shape \(m, n\), here \(3, n\); "
            r"got x \(2, 3\) and weight \(4, 3\)",
            TENSORS[0],
            TENSORS[1].T,
        ),
        "x a number": (ValueError, r"needs x of shape .*; got x \(\)", 1.0, TENSORS[1]),
        "weight of rank 1": (
            ValueError,
            r"; got x \(2, 3\) and weight \(4,\)",
            TENSORS[0],
            V,
        ),
        "weight of rank 3": (
            ValueError,
            "needs x of shape .*; got x",
            V,
            jnp.ones((4, 4, 4)),
        ),
        "bias short": (
            ValueError,
            r"needs bias of shape \(4,\) for weight",
            *TENSORS,
            V[:3],
        ),
        "bias of rank 2": (ValueError, r"needs bias of shape \(4,\)", *TENSORS, V[None]),
        "weight None": (TypeError, "needs weight to be an array; got None", V, None),
    },
    "dot": {
        "k": (
            ValueError,
            r"needs a of shape .*; got a \(2, 3\) and b \(2, 3\)",
            *TENSORS[:1] * 2,
        ),
        "vectors": (ValueError, r"; got a \(4,\) and b \(3,\)", V, V[:3]),
        "None": (TypeError, "needs b to be an array; got NoneType", V, None),
    },
    "matmul": {
        "k": (
            ValueError,
            r"needs a of shape .*; got a \(2, 3\) and b \(2, 3\)",
            *TENSORS[:1] * 2,
        ),
        "a number": (ValueError, r"; got a \(\) and b \(4,\)", 1.0, V),
        "stacks": (
            ValueError,
            r"whose leading axes broadcast; got a \(2, 3, 3\) and b \(4, 3, 3\)",
            jnp.ones((2, 3, 3)),
            jnp.ones((4, 3, 3)),
        ),
    },
    "tensordot": {
        "lengths": (
            ValueError,
            r"axes of equal lengths; got a \(2, 3\) over",
            *TENSORS,
            (0, 0),
        ),
        "numbers of axes": (
            ValueError,
            "axes of equal lengths; got",
            *TENSORS,
            ((0, 1), 0),
        ),
        "beyond": (
            ValueError,
            r"needs different axes of a of shape \(2, 3\); got \(2,\)",
            *TENSORS,
            (2, 0),
        ),
        "before": (ValueError, "needs axes of at least -2; got -3", *TENSORS, (-3, 0)),
        "too many": (ValueError, "needs axes of at least -2; got -3", *TENSORS, 3),
        "repeated": (
            ValueError,
            r"needs different axes of a of shape \(2, 3\); got \(1, -1\)",
            *TENSORS,
            ((1, -1), (0, 0)),
        ),
        "negative": (ValueError, "needs axes of at least 0; got -1", *TENSORS, -1),
        "three": (ValueError, r"a pair; got \(1, 2, 3\)", *TENSORS, (1, 2, 3)),
        "float": (TypeError, "needs an integer axes; got 1.0", *TENSORS, 1.0),
        "float axis": (TypeError, "needs an integer axes; got 1.0", *TENSORS, (1.0, 0)),
        "None": (TypeError, "needs an integer axes; got None", *TENSORS, None),
    },
    "dropout": {
        **share("rate", KEY, X),
        "no key": (TypeError, "needs a key of jax.random; got None", None, X, 0.5),
        "a seed": (TypeError, "needs a key of jax.random; got ", 0, X, 0.5),
        "a float key": (TypeError, "needs a key of jax.random; got ", np.ones(2), X, 0.5),
        "x None": (TypeError, "needs x to be an array; got NoneType", KEY, None, 0.5),
    },
    "conv_transpose": {
        **strided(X, W, V),
        **{k: v for k, v in dilated(X, W, V, 1, "SAME").items() if "beyond" not in k},
        **{
            f"x of rank {n}": (ValueError, IMAGES, jnp.ones((1,) * n), W)
            for n in (0, 1, 2, 6)
        },
        "channels": (
            ValueError,
            r"needs weight of shape \(3, 2, 6, O\) for x of shape \(2, 5, 4, 6\); got "
            r"\(3, 2, 5, 4\)",
            X,
            jnp.ones((3, 2, 5, 4)),
        ),
        "weight's rank": (ValueError, r"needs weight of shape \(k, k, 6, O\)", X, W[0]),
        "bias short": (
            ValueError,
            r"needs bias of shape \(4,\) for weight of",
            X,
            W,
            V[:3],
        ),
        "weight None": (TypeError, "needs weight to be an array; got NoneType", X, None),
        "kernel empty": (ValueError, "needs kernel_size of at least 1; got 0", X, W[:0]),
        "nothing left": (
            ValueError,
            r"spread out and padded, at least as long as the window's \(21, 11\); got "
            r"\(5, 4\) with stride \(2, 2\) and padding \(\(0, 0\), \(0, 0\)\)",
            *(X, W, V, 2, 0, 10),
        ),
        "no positions": (ValueError, r"got \(0, 4\) with stride", X[:, :0], W),
    },
    "rms_norm": {
        **negative("eps", TENSORS[1], V),
        "scale": (
            ValueError,
            r"needs scale of shape \(4,\) for x of shape \(3, 4\); got \(3,\)",
            TENSORS[1],
            V[:3],
        ),
        "scale of rank 2": (ValueError, r"got \(3, 4\)", TENSORS[1], TENSORS[1]),
        "numbers": (ValueError, r"of shape \(d,\) for x of shape \(\)", 1.0, 1.0),
        "scale None": (
            TypeError,
            "needs scale to be an array; got None",
            TENSORS[1],
            None,
        ),
    },
    "group_norm": {
        **negative("eps", *GROUPED, 2),
        "scale": (
            ValueError,
            r"of shape \(4,\) for x of shape \(2, 3, 4\); got scale \(3,\)",
            GROUPED[0],
            V[:3],
            V,
            2,
        ),
        "offset": (
            ValueError,
            r"got scale \(4,\) and offset \(3,\)",
            GROUPED[0],
            V,
            V[:3],
            2,
        ),
        "groups": (ValueError, "that divide the 4 channels of x; got 3", *GROUPED, 3),
        "no groups": (ValueError, "needs groups of at least 1; got 0", *GROUPED, 0),
        "half a group": (TypeError, "needs an integer groups; got 0.5", *GROUPED, 0.5),
        "rank": (ValueError, r"1, 2 or 3 spatial axes; got \(3, 4\)", TENSORS[1], V, V, 2),
        "None": (TypeError, "offset to be an array; got None", GROUPED[0], V, None, 2),
    },
    "batch_norm": {
        **negative("eps", *GROUPED),
        "scale": (
            ValueError,
            r"scale and offset of shape \(4,\) for x of shape \(2, 3, 4\); got scale ",
            GROUPED[0],
            V[:3],
            V,
        ),
        "offset": (ValueError, r"got scale \(4,\) and offset \(3,\)", GROUPED[0], V, V[:3]),
        "scale of rank 2": (ValueError, "got scale", TENSORS[1], TENSORS[1], V),
        "numbers": (ValueError, r"of shape \(C,\) for x of shape \(\)", 1.0, 1.0, 1.0),
        "None": (TypeError, "offset to be an array; got None", GROUPED[0], V, None),
    },
    "layer_norm": {
        **negative("eps", TENSORS[1], V, V),
        "scale": (
            ValueError,
            r"needs scale and offset of shape \(4,\) for x of shape \(3, 4\); got scale ",
            TENSORS[1],
            V[:3],
            V,
        ),
        "offset": (ValueError, r"got scale \(4,\) and offset \(3,\)", TENSORS[1], V, V[:3]),
        "scale of rank 2": (ValueError, "got scale", TENSORS[1], TENSORS[1], V),
        "numbers": (ValueError, r"of shape \(d,\) for x of shape \(\)", 1.0, 1.0, 1.0),
        "scale None": (
            TypeError,
            "needs scale to be an array; got None",
            TENSORS[1],
            None,
            V,
        ),
    },
    "embed": {
        "ids of floats": (
            TypeError,
            r"needs ids of an integer dtype; got float\d+ of shape \(3,\)",
            *(PROBS, np.ones(3)),
        ),
        "ids bool": (TypeError, "of an integer dtype; got bool", PROBS, LABELS > 0),
        "ids None": (TypeError, "needs ids to be an array; got NoneType", PROBS, None),
        "ids a list": (TypeError, "needs ids to be an array; got list", PROBS, [0, 1]),
        "table of rank 1": (
            ValueError,
            r"needs table of shape \(V, d\) with V > 0; got \(4,\)",
            V,
            LABELS,
        ),
        "table of rank 3": (ValueError, r"; got \(2, 3, 4\)", GROUPED[0], LABELS),
        "no rows": (ValueError, r"with V > 0; got \(0, 5\)", PROBS[:0], LABELS),
        "table None": (TypeError, "table to be an array; got NoneType", None, LABELS),
    },
    "rope": {
        "base str": (TypeError, "needs a number for base; got 'a'", X, None, "a"),
        "base None": (TypeError, "needs a number for base; got None", X, None, None),
        "base 0": (ValueError, "needs base of at least 1.0; got 0", X, None, 0),
        "base NaN": (ValueError, "needs base of at least 1.0; got nan", X, None, NAN),
        "rank": (
            ValueError,
            r"needs x of shape \(B, T, H, D\) with D even; got \(3, 5\)",
            LOGITS,
        ),
        "odd": (ValueError, r"with D even; got \(2, 5, 4, 5\)", X[..., :5]),
        "positions short": (
            ValueError,
            r"needs positions of shape \(5,\) or \(2, 5\) for x of shape "
            r"\(2, 5, 4, 6\); got \(3,\)",
            X,
            LABELS,
        ),
        "a position": (ValueError, r"or \(2, 5\) for x .*; got \(\)", X, 1),
        "positions of one": (ValueError, r"; got \(1, 5\)", X, np.zeros((1, 5), int)),
        "positions of floats": (
            TypeError,
            r"needs positions of an integer dtype; got float\d+ of shape \(5,\)",
            *(X, np.ones(5)),
        ),
        "positions a list": (
            TypeError,
            "needs positions to be an array; got list",
            *(X, [0, 1, 2, 3, 4]),
        ),
        "x None": (TypeError, "needs x to be an array; got NoneType", None),
    },
    "mse": {
        "shapes": (
            ValueError,
            r"needs prediction and target of the same shape; got \(3, 5\) and \(5,\)",
            LOGITS,
            LOGITS[0],
        ),
        "a number": (ValueError, r"; got \(3, 5\) and \(\)", LOGITS, 1.0),
        "None": (TypeError, "needs target to be an array; got NoneType", LOGITS, None),
    },
    "swiglu": gate(),
    "geglu": {
        **gate(),
        "approximate": (TypeError, "a bool for approximate; got 'tanh'", V, V, "tanh"),
    },
    "softmax": axis(),
    "log_softmax": axis(),
    "leaky_relu": constant("negative_slope", V),
    "elu": constant("alpha", V),
    "gelu": {
        "approximate str": (TypeError, "a bool for approximate; got 'tanh'", V, "tanh"),
        "approximate int": (TypeError, "needs a bool for approximate; got 1", V, 1),
        "approximate None": (TypeError, "needs a bool for approximate; got None", V, None),
    },
    "relu": {},
    "sigmoid": {},
    "silu": {},
    "softplus": {},
    "tanh": {},
}
for elementwise in (
    "relu",
    "sigmoid",
    "silu",
    "softplus",
    "tanh",
    "gelu",
    "elu",
    "leaky_relu",
):
    MISTAKES[elementwise]["None"] = (
        TypeError,
        "needs x to be an array; got NoneType",
        None,
    )


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
