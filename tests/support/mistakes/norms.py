"""Mistakes in what is passed to norms."""

from tests.support.mistakes.common import GROUPED, TENSORS, V, negative

MISTAKES = {
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
        "rank": (ValueError, r"1, 2 or 3 spatial axes; got \(4,\)", V, V, V, 2),
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
}
