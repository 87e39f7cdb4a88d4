"""Mistakes in what is passed to products and embeddings."""

import jax.numpy as jnp
import numpy as np

from tests.support.mistakes.common import GROUPED, LABELS, PROBS, TENSORS, V

MISTAKES = {
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
}
