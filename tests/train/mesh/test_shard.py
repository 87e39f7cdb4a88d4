"""Training states and steps laid out on several devices."""

import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from funcnn import layers, optim, train
from funcnn.train.mesh._partition_specs import param_specs, state_specs

KEY = jax.random.key(0)
OPTIMIZER = optim.adam(1e-3)


def net():
    """Four layers in a stack of blocks, and a head that does not divide by much."""
    block = layers.Residual(
        norm=layers.RMSNorm(), up=layers.Dense(32), down=layers.Dense(16)
    )
    return layers.Serial(blocks=layers.Stack(block, 4), head=layers.Dense(10))


def state(optimizer=OPTIMIZER, model=None):
    return train.init(KEY, model or net(), optimizer, (8, 16))


class Devices:
    """So many devices that specs may be worked out for them, and no more."""

    def __init__(self, **axes):
        self.shape, self.axis_names = axes, tuple(axes)


MESH = Devices(data=4, model=2)
TENSOR = [
    ("blocks/up/weight", P(None, None, "model")),
    ("*/up/bias", P(None, "model")),
    ("blocks/down/weight", P(None, "model")),
]


def specs(rules=(), fully=None, mesh=MESH, params=None):
    return param_specs(params or state().params, mesh, rules, fully)


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
    params = state().params
    found = specs(TENSOR, fully)
    opt_state = jax.eval_shape(optimizer.init, params)
    cut = state_specs(opt_state, params, found, MESH, fully)
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


def one_device(**axes):
    names = tuple(axes) or ("data",)
    return Mesh(np.array(jax.devices()[:1]).reshape([1] * len(names)), names)


def test_a_layout_of_abstract_states_and_of_states_is_the_same():
    whole = state()
    abstract = jax.eval_shape(state)
    mesh = one_device(data=1, model=1)
    layout = train.shard(abstract, mesh, rules=TENSOR, fully="data")
    assert layout == train.shard(whole, mesh, rules=TENSOR, fully="data")
    assert layout.batch.spec == P(("data",))
    made = layout.init(state)
    jax.tree.map(np.testing.assert_array_equal, made.params, whole.params)
    assert (
        made.params["blocks"]["up"]["weight"].sharding
        == (layout.state.params["blocks"]["up"]["weight"])
    )


@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit])
def test_a_step_trains_in_place_and_leaves_what_was_placed(kind):
    mesh = jax.make_mesh((1,), ("data",), axis_types=(kind,))
    before = state()
    layout = train.shard(before, mesh)

    def loss(params, batch, key):
        noise = jax.random.normal(key, batch["x"].shape, jnp.float32)
        y = net().apply(params, batch["x"] + noise)
        return (y**2).mean(), {"largest": abs(y).max()}

    step = train.make_step(loss, OPTIMIZER)
    batch = {"x": np.ones((8, 16), np.float32)}
    placed = layout.place(before)
    after, metrics = layout.jit(step)(placed, layout.place_batch(batch))
    assert jax.tree.leaves(placed.params)[0].is_deleted()
    wanted, same = jax.jit(step)(before, batch)  # which is there still
    jax.tree.map(np.testing.assert_array_equal, metrics, same)
    jax.tree.map(np.testing.assert_array_equal, after.params, wanted.params)
    assert jnp.issubdtype(after.key.dtype, jax.dtypes.prng_key)


def test_batches_go_along_the_axis_of_examples():
    layout = train.shard(state(), one_device(data=1, model=1), batch=("data", "model"))
    assert layout.batch.spec == P(("data", "model"))
    placed = layout.place_batch({"x": np.ones((3, 8, 2))}, axis=1)
    assert placed["x"].sharding.spec == P(None, ("data", "model"))


def test_several_steps_in_one_call():
    layout = train.shard(state(), one_device())

    def loss(params, batch, key):
        return (net().apply(params, batch) ** 2).mean()

    step = train.make_step(loss, OPTIMIZER)
    batches = np.random.default_rng(0).standard_normal((3, 8, 16)).astype(np.float32)
    steps = layout.jit(lambda state, batches: jax.lax.scan(step, state, batches), axis=1)
    _, metrics = steps(layout.place(state()), layout.place_batch(batches, axis=1))
    now, want = state(), []
    for batch in batches:
        now, one = step(now, batch)
        want.append(one["loss"])
    np.testing.assert_allclose(metrics["loss"], want, 1e-5)


def test_wrong_use_is_told():
    mesh, mine = one_device(), state()
    with pytest.raises(TypeError, match=r"^shard needs a TrainState; got dict\.$"):
        train.shard({}, mesh)
    with pytest.raises(TypeError, match=r"^shard needs a mesh of devices; got int\.$"):
        train.shard(mine, 8)
    for what in ("fully", "batch"):
        message = rf"^shard needs {what} among the mesh's axes \('data',\); got 'x'\.$"
        with pytest.raises(ValueError, match=message):
            train.shard(mine, mesh, **{what: "x"})
    message = (
        r"^place_batch needs .* on axis 1 .* 1 devices; got shape \(8,\) at \['x'\]\.$"
    )
    with pytest.raises(ValueError, match=message):
        train.shard(mine, mesh).place_batch({"x": np.ones(8)}, axis=1)


# Several devices are a matter of the whole process.
SCRIPTS = Path(__file__).parents[2] / "support/on_devices"


@pytest.mark.parametrize(
    "script", sorted(p.stem for p in SCRIPTS.glob("*.py") if "main()" in p.read_text())
)
def test_on_eight_devices(script):
    done = subprocess.run(
        [sys.executable, "-W", "error", str(SCRIPTS / f"{script}.py")],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (0, "as it should be\n"), done.stderr
