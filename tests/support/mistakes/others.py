"""Mistakes in what is passed to activations, gates, dropout and ops of sequences."""

import numpy as np

from tests.support.mistakes.common import (
    KEY,
    LABELS,
    LOGITS,
    NAN,
    QKV,
    V,
    X,
    constant,
    gate,
    share,
)

MISTAKES = {
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
    "dropout": {
        **share("rate", KEY, X),
        "no key": (TypeError, "needs a key of jax.random; got None", None, X, 0.5),
        "a seed": (TypeError, "needs a key of jax.random; got ", 0, X, 0.5),
        "a float key": (TypeError, "needs a key of jax.random; got ", np.ones(2), X, 0.5),
        "x None": (TypeError, "needs x to be an array; got NoneType", KEY, None, 0.5),
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
    "swiglu": gate(),
    "geglu": {
        **gate(),
        "approximate": (TypeError, "a bool for approximate; got 'tanh'", V, V, "tanh"),
    },
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
