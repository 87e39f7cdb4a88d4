"""Mistakes in what is passed to ops of windows over images."""

import jax.numpy as jnp

from tests.support.mistakes.common import IMAGES, V, W, X, dilated, pool, strided, windowed

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
}
