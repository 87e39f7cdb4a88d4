"""Mistakes in what is passed to softmaxes and losses."""

import jax.numpy as jnp
import numpy as np

from tests.support.mistakes.common import (
    CAPPED,
    HEAD,
    LABELS,
    LOGITS,
    NAN,
    PROBS,
    TENSORS,
    V,
    axis,
    classified,
    left_out,
    negative,
    share,
)

MISTAKES = {
    "cross_entropy": {
        **classified("probs"),
        **negative("eps", PROBS, LABELS),
        **left_out(LABELS, PROBS, LABELS, 0.0),
    },
    "softmax_cross_entropy": {
        **classified("logits"),
        **left_out(LABELS, LOGITS, LABELS, 0.0, 0.0),
        "class weights": (
            ValueError,
            r"needs class_weights of shape \(5,\) for logits of shape \(3, 5\); got \(4,\)",
            *(LOGITS, LABELS, 0.0, 0.0, None, None, V),
        ),
        **share("label_smoothing", LOGITS, LABELS),
        **negative("z_loss", LOGITS, LABELS, 0.1),
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
            r"needs weight of shape \(..., C\) with C > 1; got \(3, 0\)",
            HEAD[0],
            HEAD[1][:, :0],
            HEAD[2],
        ),
        "one class": (
            ValueError,
            r"weight of at least 2 classes; got shape \(3, 1\).* use binary_cross_entropy",
            HEAD[0],
            HEAD[1][:, :1],
            HEAD[2],
        ),
        **left_out(HEAD[2], *CAPPED, None),
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
    },
    "binary_cross_entropy": {
        "integers": (
            TypeError,
            "needs logits of a floating-point dtype; got int",
            *(LABELS, LABELS),
        ),
        "labels complex": (
            TypeError,
            "needs labels that are numbers; got",
            *(V, V.astype(complex)),
        ),
        "labels short": (
            ValueError,
            r"needs labels of the shape of logits, \(4,\); got \(3,\)",
            *(V, V[:3]),
        ),
        "pos_weight": (
            ValueError,
            r"needs pos_weight that broadcast to .* logits, \(4,\); got shape \(3,\)",
            *(V, V, V[:3]),
        ),
        "weights larger": (
            ValueError,
            r"needs weights that broadcast to .* \(4,\); got shape \(2, 4\)",
            *(V, V, None, 0.0, jnp.ones((2, 4))),
        ),
        **share("label_smoothing", V, V, None),
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
    "softmax": axis(),
    "log_softmax": axis(),
}
