"""Layers of stacks are treated as each would be alone."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from funcnn import layers, optim, train
from tests.support.optim_runs import assert_close

RNG = np.random.default_rng(0)


def layer(rng):
    return {"weight": rng.standard_normal((4, 6)), "bias": rng.standard_normal(6)}


def stack(rng, depth):
    many = [layer(rng) for _ in range(depth)]
    return jax.tree.map(lambda *a: jnp.asarray(np.stack(a)), *many)


def model(rng):
    """Two stacks of different depths, and what is no stack."""
    rest = jnp.asarray(rng.standard_normal((5, 4)))
    return {"blocks": stack(rng, 3), "decoder": stack(rng, 2), "table": rest}


PARAMS, GRADS = model(RNG), [model(RNG) for _ in range(2)]
PATTERNS = ["blocks/*", "decoder/*"]


def rate(step):
    return 0.1 / (1.0 + step.astype(float))


def wide(params):
    return jax.tree.map(lambda w: w.ndim > 1, params)


# What looks at shapes or norms, remembers, draws, or asks for a mask.
METHODS = {
    "muon": lambda: optim.muon(rate, weight_decay=0.1),
    "momentum in eight bits": lambda: optim.sgd(0.1, 0.9, moments=optim.Int8(8)),
    "lamb": lambda: optim.lamb(rate, weight_decay=0.1, mask=wide),
    "lars": lambda: optim.lars(0.1, 0.9, 0.1),
    "adafactor": lambda: optim.adafactor(0.1, least_size=2),
    "adamw, masked": lambda: optim.adamw(0.1, weight_decay=0.1, mask=wide),
    "adamw, by names": lambda: optim.adamw(0.1, weight_decay=0.1, mask=optim.decay_mask),
    "a chain": lambda: optim.chain(
        optim.clip_by_global_norm(0.5),
        optim.adaptive_grad_clip(0.1),
        optim.clip_by_block_rms(0.5),
        optim.centralize(),
        optim.trace(0.9),
        optim.scale_by_trust_ratio(),
        optim.scale_by_learning_rate(rate),
    ),
    "lookahead": lambda: optim.lookahead(optim.sgd(0.1, 0.9), 2),
    "inject": lambda: optim.inject(optim.lamb, learning_rate=rate),
    "accumulate": lambda: optim.accumulate(optim.lamb(0.1), 2),
    "optax's lamb": lambda: optax.lamb(0.1),
    "optax's masked": lambda: optax.masked(optax.adafactor(0.1), wide),
}


def steps(optimizer, params, grads):
    """Params after some steps."""
    state = optimizer.init(params)
    for g in grads:
        updates, state = optimizer.update(g, state, params)
        params = optim.apply_updates(params, updates)
    return params


def pick(tree, i):
    return jax.tree.map(lambda a: a[i], tree)


SOME = {"muon", "lamb", "adafactor", "adamw, masked", "inject"}  # one of each kind


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=() if n in SOME else pytest.mark.exhaustive) for n in METHODS],
)
def test_equals_each_layer_alone(name):
    make = METHODS[name]
    standard = jax.numpy_dtype_promotion("standard" if "optax" in name else "strict")
    with standard:
        got = steps(optim.per_layer(make(), PATTERNS), PARAMS, GRADS)
        for part, i in (("blocks", 0), ("blocks", 2), ("decoder", 1)):
            alone = pick(PARAMS[part], i), [pick(g[part], i) for g in GRADS]
            assert_close(pick(got[part], i), steps(make(), *alone), 1e-9)
        rest = {"table": PARAMS["table"]}, [{"table": g["table"]} for g in GRADS]
        assert_close({"table": got["table"]}, steps(make(), *rest), 1e-9)


@pytest.mark.parametrize("name", ["muon", "lamb", "lars", "adafactor", "a chain"])
def test_not_so_without(name):
    """The plain methods mix layers, or take biases for matrices."""
    plain = steps(METHODS[name](), PARAMS, GRADS[:1])
    each = steps(optim.per_layer(METHODS[name](), PATTERNS), PARAMS, GRADS[:1])
    with pytest.raises(AssertionError):
        assert_close(plain["blocks"], each["blocks"], 1e-6)


def test_a_depth_of_one_equals_the_layer():
    params = jax.tree.map(lambda a: a[:1], PARAMS["blocks"])
    grads = jax.tree.map(lambda a: a[:1], GRADS[0]["blocks"])
    got = steps(optim.per_layer(optim.muon(0.1), "*"), params, [grads])
    want = steps(optim.muon(0.1), pick(params, 0), [pick(grads, 0)])
    assert_close(pick(got, 0), want, 1e-9)


def test_stacks_that_one_pattern_matches_are_told_apart_by_their_depth():
    optimizer = optim.per_layer(optim.sgd(0.1), ["*bias", "*"])
    labels = optimizer.init({"a": PARAMS["blocks"], "b": PARAMS["decoder"]}).inner
    assert {*labels} == {"3 of *bias", "2 of *bias", "3 of *", "2 of *"}
    empty = jax.tree.map(lambda a: a[:0], PARAMS["blocks"])
    updates, _ = optimizer.update(empty, optimizer.init(empty), empty)
    assert updates["weight"].shape == (0, 4, 6)


def test_a_clip_inside_is_of_a_layer_and_one_outside_of_all():
    limit = 1e-3
    inside = optim.per_layer(optim.clip_by_global_norm(limit), PATTERNS)
    updates, _ = inside.update(GRADS[0], inside.init(PARAMS), PARAMS)
    for i in range(3):
        np.testing.assert_allclose(optim.global_norm(pick(updates["blocks"], i)), limit)
    np.testing.assert_allclose(optim.global_norm(updates), limit * np.sqrt(3 + 2 + 1))
    whole = optim.chain(
        optim.clip_by_global_norm(limit), optim.per_layer(optim.sgd(1.0), PATTERNS)
    )
    updates, _ = whole.update(GRADS[0], whole.init(PARAMS), PARAMS)
    np.testing.assert_allclose(optim.global_norm(updates), limit)


def test_traces_once_and_takes_gradients_alone():
    optimizer = optim.per_layer(optim.adam(rate), PATTERNS)
    state = jax.eval_shape(optimizer.init, PARAMS)
    updates, after = jax.eval_shape(optimizer.update, GRADS[0], state)
    assert jax.tree.structure(updates) == jax.tree.structure(PARAMS)
    kinds = [jax.tree.map(lambda a: (a.shape, a.dtype), tree) for tree in (state, after)]
    assert kinds[0] == kinds[1]
    assert state.inner["3 of blocks/*"].mu["blocks"]["bias"].shape == (3, 6)


def test_what_measures_a_loss_measures_that_of_a_layer():
    def loss(params):
        blocks, decoder = params["blocks"], params["decoder"]
        mixed = jnp.sum(blocks["weight"] ** 2) * jnp.sum(jnp.cos(decoder["bias"]))
        return mixed + jnp.sum(params["table"] ** 2) * jnp.sum(jnp.sin(blocks["bias"][1]))

    def update(grads, state, params=None, *, loss):
        return jax.grad(loss)(params), state

    slopes = optim.Optimizer(lambda params: (), update)
    for optimizer in (
        optim.per_layer(slopes, PATTERNS),
        optim.partition({True: slopes, False: slopes}, wide),
    ):
        state = optimizer.init(PARAMS)
        found, _ = optimizer.update(GRADS[0], state, PARAMS, loss=loss)
        assert_close(found, jax.grad(loss)(PARAMS))


def test_further_arguments_like_gradients_are_of_the_layer():
    def update(grads, state, params=None, *, grad, value):
        return jax.tree.map(lambda g, a: a * value + 0 * g, grads, grad), state

    taker = optim.Optimizer(lambda params: (), update)
    for optimizer in (
        optim.per_layer(taker, PATTERNS),
        optim.partition({True: taker, False: taker}, wide),
    ):
        state = optimizer.init(PARAMS)
        found, _ = optimizer.update(GRADS[0], state, PARAMS, grad=GRADS[1], value=2.0)
        assert_close(found, jax.tree.map(lambda a: 2 * a, GRADS[1]))


def test_the_state_of_a_transformer():
    net = layers.Transformer(7, 8, 2, 3)
    optimizer = optim.per_layer(optim.muon(1e-2, matrices=optim.decay_mask), "blocks/*")
    tokens = jax.ShapeDtypeStruct((2, 6), jnp.int32)
    params = jax.eval_shape(net.init, jax.random.key(0), tokens)
    state = jax.eval_shape(optimizer.init, params)
    blocks = state.inner["3 of blocks/*"].inner
    matrices = jax.tree.leaves(blocks["matrices"].momentum)
    vectors = jax.tree.leaves(blocks["others"].mu)
    assert {a.ndim for a in matrices} == {3}
    assert {a.ndim for a in vectors} == {2}
    assert len(matrices) == 6
    with pytest.raises(ValueError, match=r"^muon needs matrices of two axes or more"):
        jax.eval_shape(
            optim.per_layer(optim.muon(0.1, matrices=True), "blocks/*").init, params
        )


@pytest.mark.filterwarnings("ignore")  # of Orbax's own making
def test_a_state_is_saved_and_sharded(tmp_path):
    optimizer = optim.per_layer(optim.adam(0.1), PATTERNS)
    state = train.TrainState(
        jnp.zeros((), jnp.int32), PARAMS, optimizer.init(PARAMS), jax.random.key(0)
    )
    with train.Checkpoints(tmp_path / "kept") as kept:
        kept.save(state)
        back = kept.restore(jax.eval_shape(lambda: state))
    assert_close(back.opt_state, state.opt_state, 0)
    mesh = jax.make_mesh((1,), ("data",))
    spec = jax.sharding.PartitionSpec("data")
    layout = train.shard(state, mesh, rules=[("blocks/weight", spec)])
    moments = layout.state.opt_state.inner["3 of blocks/*"]
    assert moments.mu["blocks"]["weight"].spec == spec


@pytest.mark.parametrize(
    "patterns, params, message",
    [
        ("block/*", PARAMS, "'block/.' decides of none. There are blocks/bias, blocks"),
        (["*", "blocks/*"], PARAMS, "'blocks/.' decides of none."),
        (
            "*",
            {"a": jnp.ones(())},
            r"axis of layers in what '.' matches; got shape \(\) at",
        ),
    ],
)
def test_wrong_patterns(patterns, params, message):
    optimizer = optim.per_layer(optim.sgd(0.1), patterns)
    with pytest.raises(ValueError, match=f"^per_layer needs .*{message}"):
        optimizer.init(params)
    with pytest.raises(ValueError, match=f"^per_layer needs .*{message}"):
        optimizer.update(params, optim.PartitionState({}), params)


def test_wrong_arguments():
    with pytest.raises(
        TypeError, match=r"^per_layer needs patterns that are strings; got 3"
    ):
        optim.per_layer(optim.sgd(0.1), [3])
    with pytest.raises(TypeError, match=r"^per_layer needs optimizers, each with init"):
        optim.per_layer(3, "*")
