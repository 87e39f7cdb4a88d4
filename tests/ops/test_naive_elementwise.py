"""Activations and gates against loops over every index, in float64."""

import numpy as np
import pytest

from funcnn import ops
from tests.support import naive
from tests.support.against_loops import check, normals
from tests.support.combinations import combinations

ACTIVATIONS = {
    "relu": [()],
    "leaky_relu": [(), (0.2,)],
    "elu": [(), (0.7,)],
    "sigmoid": [()],
    "tanh": [()],
    "silu": [()],
    "gelu": [(), (True,), (False,)],
    "softplus": [()],
}


@pytest.mark.parametrize(
    ("name", "constants"), [(name, c) for name, cs in ACTIVATIONS.items() for c in cs]
)
def test_activations(name, constants):
    """Beside normal numbers: large ones, tiny ones and both zeros."""
    f = getattr(naive, name)
    x = 3 * normals((41,))[0]
    x[:9] = 0.0, -0.0, 1e-9, -1e-9, 1e-300, 12.0, -12.0, 30.0, -30.0
    check(
        lambda x: getattr(ops, name)(x, *constants),
        lambda x: np.array([f(v, *constants)[0] for v in x.tolist()]),
        lambda x, dy: np.array([f(v, *constants)[1] for v in x.tolist()]) * dy,
        x,
    )


@combinations(
    "case, shape",
    [("swiglu", "silu", ()), ("geglu", "gelu", ()), ("geglu", "gelu", (False,))],
    [(), (41,), (3, 2), (0, 2)],
    quick=5,
)
def test_gates(case, shape):
    name, activation, constants = case

    def f(x):
        return getattr(naive, activation)(x, *constants)

    gate, value = map(np.asarray, normals(shape, shape))
    check(
        lambda g, v: getattr(ops, name)(g, v, *constants),
        lambda g, v: naive.gated(f, g, v, np.ones(shape))[0],
        lambda g, v, dy: naive.gated(f, g, v, dy)[1:],
        3 * gate,
        value,
    )
