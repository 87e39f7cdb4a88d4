"""Arrays and mistakes that several ops share: `{what: (error, message, *arguments)}`."""

import jax
import jax.numpy as jnp
import numpy as np

KEY = jax.random.key(0)
NAN = float("nan")

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


def left_out(labels, *first):
    """Mistakes in what is passed as `(*first, ignore, weights)`, among them labels."""
    return {
        "ignore float": (TypeError, "an integer ignore; got 0.5", *first, 0.5),
        "ignore bool": (TypeError, "an integer ignore; got True", *first, True),
        "ignore several": (TypeError, "an integer ignore; got 'a'", *first, (1, "a")),
        "weights": (
            ValueError,
            rf"needs weights of shape \({len(labels)},\), one for each example; got \(7,\)",
            *(*first, None, jnp.ones(7)),
        ),
        "weights complex": (
            TypeError,
            "needs weights that are numbers; got complex",
            *(*first, None, jnp.ones(labels.shape, complex)),
        ),
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
            rf"needs {scores} of shape \(\.\.\., C\) with C > 1; got \(3, 0\)",
            jnp.ones((3, 0)),
            LABELS,
        ),
        "one class": (
            ValueError,
            rf"needs {scores} of at least 2 classes; got .*3, 1\).* binary_cross_entropy",
            jnp.ones((3, 1)),
            LABELS,
        ),
        "a number": (
            ValueError,
            rf"needs {scores} of shape \(\.\.\., C\) with C > 1; got \(\)",
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
