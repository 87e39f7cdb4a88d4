"""Weights decay; biases, norms and embeddings do not, in stacks neither."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnn import layers, optim
from funcnn.foundation._paths import path_of


def by_path(tree):
    return {path_of(p): a for p, a in jax.tree_util.tree_flatten_with_path(tree)[0]}


def test_of_a_transformer():
    net = layers.Transformer(11, 8, 2, 3, length=6, positions="learned", tied=False)
    params = jax.eval_shape(lambda: net.init(jax.random.key(0), jnp.ones((2, 6), int)))
    mask = optim.decay_mask(params)
    assert jax.tree.structure(mask) == jax.tree.structure(params)
    found = by_path(mask)
    assert {path for path, decays in found.items() if decays} == {
        path for path in found if path.endswith("weight")
    }
    assert found["head/weight"]
    assert not found["tokens/table"]
    assert not any("norm" in path for path, decays in found.items() if decays)
    stacked = {path: a.ndim for path, a in by_path(params).items() if "bias" in path}
    assert 2 in stacked.values()
    assert not any(found[path] for path in stacked)


@pytest.mark.parametrize("make", [optim.adamw, optim.lamb, optim.lion, optim.nadam])
def test_as_a_mask(make):
    params = {"a": {"weight": jnp.ones((2, 3)), "bias": jnp.ones((2, 3))}}
    optimizer = make(0.1, weight_decay=0.5, mask=optim.decay_mask)
    still = jax.tree.map(jnp.zeros_like, params)
    updates, _ = jax.jit(optimizer.update)(still, optimizer.init(params), params)
    assert (updates["a"]["weight"] < 0).all()
    np.testing.assert_array_equal(updates["a"]["bias"], 0)


def test_other_names():
    """Flax's, Haiku's, and those of libraries whose norms have weights."""
    leaf = jnp.ones((2, 2))
    params = {
        "dense": {"kernel": leaf, "bias": leaf},
        "linear": {"w": leaf, "b": leaf},
        "norm1": {"weight": leaf, "scale": leaf},
        "embed": {"embedding": leaf},
        "vector": {"weight": jnp.ones(3)},
        "cell": {"input_weight": leaf, "state_bias": leaf},
        "none": None,
    }
    found = by_path(optim.decay_mask(params))
    assert {path for path, decays in found.items() if decays} == {
        "dense/kernel",
        "linear/w",
        "cell/input_weight",
    }
    more = functools.partial(optim.decay_mask, weights=["*bias"], never=())
    assert by_path(more(params))["dense/bias"]
    assert optim.decay_mask({}) == {}
    with pytest.raises(TypeError, match=r"^decay_mask needs never that are strings; got 1"):
        optim.decay_mask(params, never=[1])
