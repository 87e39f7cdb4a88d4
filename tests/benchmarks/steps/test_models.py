"""The networks that are trained are what their names say."""

import math

import jax
import numpy as np
import pytest

from benchmarks.steps import models, with_funcnn
from benchmarks.steps.with_funcnn import initial
from tests.support.benchmark_networks import POOLED


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("mlp", 784 * 512 + 512 * 512 + 512 * 10 + 1034),
        ("cnn", 212_542),
        pytest.param("resnet18", 11_178_762, marks=pytest.mark.exhaustive),
        pytest.param("mobilenetv2", 220_970, marks=pytest.mark.exhaustive),
        pytest.param("convnext", 1_598_282, marks=pytest.mark.exhaustive),
        ("transformer", 7_427_584),
    ],
)
def test_models_are_what_they_are_called(name, parameters):
    model = models.MODELS[name]()
    params = with_funcnn.shapes(model)
    assert sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params)) == parameters
    network = with_funcnn.serial(model.layers)
    x = jax.ShapeDtypeStruct(model.shape, model.dtype)
    y = jax.eval_shape(network.apply, params, x)
    assert y.shape == (*model.labels, model.classes)


def test_parameters_are_the_same_every_time_and_not_zero():
    first, second = initial(POOLED), initial(POOLED)
    jax.tree.map(np.testing.assert_array_equal, first, second)
    assert [sorted(layer) for layer in first] == [["bias", "weight"]] * 2
    assert all(np.std(a) > 0 for a in jax.tree.leaves(first))
