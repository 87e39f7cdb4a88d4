"""How params and the states of optimizers are cut: by rules, and evenly."""

from collections import namedtuple

import jax
import jax.numpy as jnp
import optax
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from funcnn import optim
from funcnn.train.mesh._partition_specs import param_specs, state_specs
from tests.support.mesh_nets import TENSOR, state

PARAMS = jax.eval_shape(state).params


class Devices:
    """So many devices that specs may be worked out for them, and no more."""

    def __init__(self, **axes):
        self.shape, self.axis_names = axes, tuple(axes)


MESH = Devices(data=4, model=2)


def specs(rules=(), fully=None, mesh=MESH, params=None):
    return param_specs(params or PARAMS, mesh, rules, fully)


def test_rules_decide_by_path_and_the_first_wins():
    found = specs([*TENSOR, ("blocks/*", P()), ("head/*", P("model"))])
    assert found["blocks"]["up"] == {
        "weight": P(None, None, "model"),
        "bias": P(None, "model"),
    }
    assert found["blocks"]["down"] == {"weight": P(None, "model"), "bias": P()}
    assert found["head"] == {"weight": P("model"), "bias": P("model")}
    assert found["blocks"]["norm"] == {"scale": P()}


def test_paths_are_those_of_tuples_and_names_alike():
    pair = namedtuple("Pair", "left right")
    params = {"a": ({"weight": jnp.ones((4, 2))}, {}), "b": pair(jnp.ones(2), jnp.ones(4))}
    found = specs([("a/0/weight", P("model")), ("b/*", P("model"))], params=params)
    assert found == {
        "a": ({"weight": P("model")}, {}),
        "b": pair(P("model"), P("model")),
    }


def test_fully_spreads_the_largest_axis_that_divides():
    params = {
        "tall": jnp.ones((12, 8)),
        "odd": jnp.ones((13, 8)),
        "same": jnp.ones((8, 8)),  # the last: the first may be of a stack's layers
        "none": jnp.ones((3, 5)),
        "empty": jnp.ones((0, 3)),
        "scalar": jnp.ones(()),
    }
    assert specs(fully="data", params=params) == {
        "tall": P("data", None),
        "odd": P(None, "data"),
        "same": P(None, "data"),
        "none": P(),
        "empty": P(),
        "scalar": P(),
    }


def test_fully_adds_to_rules_what_they_leave_free():
    found = specs(TENSOR, "data")["blocks"]
    assert found["up"]["weight"] == P(None, "data", "model")
    assert found["up"]["bias"] == P("data", "model")
    assert found["down"]["weight"] == P(None, "model", "data")
    kept = specs([("*/up/weight", P(None, "data"))], "data")["blocks"]["up"]["weight"]
    assert kept == P(None, "data")


NAMES = "There are blocks/down/bias, "
AXES = r"axes of the mesh, \('data', 'model'\), for head/weight; got .*'modle'"
BOTH = "each axis at most once for head/weight"
ENTRIES = r"at most 1 entries for head/bias of shape \(10,\)"
DIVIDES = r"axis 1 of head/weight, of shape \(16, 10\), to divide by 4 for .*; got 10\.$"


@pytest.mark.parametrize(
    "rules, message",
    [
        (
            [("blocks/up", P())],
            f"'blocks/up' decides of none, as none is called so. {NAMES}",
        ),
        ([("*", P()), ("*/up/*", P())], "of none, which earlier rules have taken"),
        ([("head/weight", P("modle"))], AXES),
        ([("head/weight", P("model", ("data", "model")))], BOTH),
        ([("head/bias", P(None, "model"))], ENTRIES),
        ([("head/weight", P(None, "data"))], DIVIDES),
    ],
)
def test_rules_that_do_not_fit_are_told_with_the_path(rules, message):
    with pytest.raises(ValueError, match=f"^shard needs .*{message}"):
        specs(rules)


def test_a_spec_must_be_one():
    with pytest.raises(TypeError, match=r"shard needs a PartitionSpec for head/bias; got"):
        specs([("head/bias", ("model",))])


def over(optimizer, fully="data"):
    """The specs of an optimizer's state, by path, and those of the params."""
    found = specs(TENSOR, fully)
    opt_state = jax.eval_shape(optimizer.init, PARAMS)
    cut = state_specs(opt_state, PARAMS, found, MESH, fully)
    assert jax.tree.structure(cut) == jax.tree.structure(opt_state)
    for spec, a in zip(jax.tree.leaves(cut), jax.tree.leaves(opt_state), strict=True):
        NamedSharding(jax.sharding.AbstractMesh((4, 2), MESH.axis_names), spec).shard_shape(
            a.shape
        )
    return cut, found


@pytest.mark.parametrize(
    "optimizer",
    [
        optim.adamw(1e-3),
        optim.chain(optim.clip_by_global_norm(1.0), optim.adam(1e-3)),
        optim.lookahead(optim.adam(1e-3)),
        optim.accumulate(optim.adam(1e-3), 2),
        optax.adamw(1e-3),
        optax.MultiSteps(optax.adam(1e-3), 2),
    ],
)
def test_moments_are_where_their_params_are(optimizer):
    cut, found = over(optimizer)
    up = found["blocks"]["up"]["weight"]
    leaves = jax.tree.leaves(cut)
    assert leaves.count(up) >= 2
    # each moment tree is like the params
    trees = [
        t
        for t in jax.tree.leaves(cut, is_leaf=lambda t: isinstance(t, dict))
        if isinstance(t, dict)
    ]
    assert len(trees) >= 2
    assert all(t == found for t in trees)


@pytest.mark.parametrize(
    "optimizer",
    [
        optim.adafactor(1e-3),
        optim.muon(1e-3),
        optim.adamw(1e-3, moments=optim.Int8()),
        optim.adamw(1e-3, moments=jnp.bfloat16),
        optax.adafactor(1e-3, min_dim_size_to_factor=8),
    ],
)
@pytest.mark.parametrize("fully", [None, "data"])
def test_states_of_other_shapes_get_what_divides(optimizer, fully):
    over(optimizer, fully)
