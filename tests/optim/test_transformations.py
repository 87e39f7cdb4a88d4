"""Transformations of gradients against optax's, and what they do besides."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from funcnn import optim
from tests.support.optim_runs import GRADS, PARAMS, Block, assert_close, trajectory

KEY = jax.random.key(0)


def rate(step):
    return 0.1 / (1.0 + 0.01 * step.astype(float))


def matrices(params):
    return jax.tree.map(lambda w: w.ndim == 2, params)


def labels(params):
    return jax.tree.map(lambda w: "ab"[w.ndim % 2], params)


def turned(optimizer):
    """optax's, of arrays whose outputs are the first axis and not the last."""

    def turn(tree):
        return jax.tree.map(lambda a: jnp.moveaxis(a, -1, 0) if a.ndim > 1 else a, tree)

    def back(tree):
        return jax.tree.map(lambda a: jnp.moveaxis(a, 0, -1) if a.ndim > 1 else a, tree)

    def update(grads, state, params=None):
        updates, state = optimizer.update(turn(grads), state, turn(params))
        return back(updates), state

    return optax.GradientTransformation(optimizer.init, update)


def kernels_as_matrices(optimizer):
    """optax's, of kernels made matrices: it has units of its own for three axes."""

    def flat(tree):
        return jax.tree.map(lambda a: a.reshape(-1, a.shape[-1]) if a.ndim > 2 else a, tree)

    def update(grads, state, params=None):
        updates, state = optimizer.update(flat(grads), state, flat(params))
        return jax.tree.map(lambda u, g: u.reshape(g.shape), updates, grads), state

    return optax.GradientTransformation(optimizer.init, update)


def multi_steps(optimizer, every):
    steps = optax.MultiSteps(optimizer, every, accumulator_dtype=jnp.float64)
    return steps.gradient_transformation()


FROZEN = {"stem": True, "body": False, "head": False}
PAIRS = {
    "add_decayed_weights": (
        optim.add_decayed_weights(0.01, matrices),
        optax.add_decayed_weights(0.01, matrices),
    ),
    "clip": (optim.clip(0.5), optax.clip(0.5)),
    "clip_by_global_norm": (
        optim.clip_by_global_norm(6.0),
        optax.clip_by_global_norm(6.0),
    ),
    "clip_by_block_rms": (optim.clip_by_block_rms(1.0), optax.clip_by_block_rms(1.0)),
    "adaptive_grad_clip": (
        optim.chain(optim.adaptive_grad_clip(0.1), optim.sgd(0.1)),
        optax.chain(kernels_as_matrices(optax.adaptive_grad_clip(0.1)), optax.sgd(0.1)),
    ),
    "scale": (optim.scale(0.3), optax.scale(0.3)),
    "trace": (optim.trace(0.9), optax.trace(0.9)),
    "trace, Nesterov": (optim.trace(0.9, True), optax.trace(0.9, nesterov=True)),
    "centralize": (optim.centralize(), turned(optax.centralize())),
    "add_noise": (optim.add_noise(0.5, 0.55, KEY), optax.add_noise(0.5, 0.55, KEY)),
    "accumulate": (
        optim.accumulate(optim.adamw(rate), 4),
        multi_steps(optax.adamw(rate), 4),
    ),
    "freeze": (
        optim.chain(optim.adam(rate), optim.freeze(FROZEN)),
        optax.chain(optax.adam(rate), optax.freeze(FROZEN)),
    ),
    "masked": (
        optim.masked(optim.adam(rate), matrices),
        optax.masked(optax.adam(rate), matrices),
    ),
    "partition": (
        optim.partition({"a": optim.adam(rate), "b": optim.sgd(0.1, 0.9)}, labels),
        optax.partition({"a": optax.adam(rate), "b": optax.sgd(0.1, 0.9)}, labels),
    ),
    "apply_if_finite": (
        optim.apply_if_finite(optim.adam(rate), 3),
        optax.apply_if_finite(optax.adam(rate), 3),
    ),
    "inject": (
        optim.inject(optim.adamw, learning_rate=rate, b1=0.8, weight_decay=0.1),
        optax.inject_hyperparams(optax.adamw)(rate, b1=0.8, weight_decay=0.1),
    ),
    "inject, weight decay": (
        optim.inject(optim.adamw, learning_rate=0.1, weight_decay=rate),
        optax.inject_hyperparams(optax.adamw)(0.1, weight_decay=rate),
    ),
    "chain": (
        optim.chain(optim.scale_by_adam(), optim.trace(0.5), optim.scale(0.1)),
        optax.chain(optax.scale_by_adam(), optax.trace(0.5), optax.scale(0.1)),
    ),
    "chain, mixed": (
        optim.chain(
            optim.partition({"a": optax.adam(0.1), "b": optim.lion(0.1)}, labels),
            optax.ema(0.9),
            optim.accumulate(optax.identity(), 2),
        ),
        optax.chain(
            optax.partition({"a": optax.adam(0.1), "b": optax.lion(0.1)}, labels),
            optax.ema(0.9),
            multi_steps(optax.identity(), 2),
        ),
    ),
}
# Compared with a formula, below, or with the methods.
OTHERS = {"ema_params", "hutchinson", "lookahead"}
OTHERS |= {"master_weights", "stochastic_rounding"}  # in test_optim_memory


def transformations():
    """Public functions that make an optimizer, but those that test_optim_methods takes."""
    for name, value in vars(optim).items():
        if inspect.isfunction(value) and not name.startswith("scale_by_"):
            signature = inspect.signature(value)
            makes = signature.return_annotation is optim.Optimizer
            if makes and "learning_rate" not in signature.parameters:
                yield name


def test_every_transformation_is_compared():
    compared = {name.split(",")[0] for name in PAIRS} | OTHERS
    assert {*transformations()} == compared


@pytest.mark.parametrize("name", PAIRS)
def test_equals_optax_for_500_steps(name):
    ours, theirs = PAIRS[name]
    promotion = "standard" if name == "chain, mixed" else "strict"
    assert_close(trajectory(ours, promotion), trajectory(theirs, "standard"))


def first(tree):
    return jax.tree.map(lambda a: a[0], tree)


def test_ema_params_is_the_mean_of_what_params_become():
    optimizer = optim.chain(optim.sgd(0.1), optim.ema_params(0.9))
    params, state = PARAMS, optimizer.init(PARAMS)
    mean = PARAMS
    for _ in range(3):
        updates, state = optimizer.update(first(GRADS), state, params)
        params = optim.apply_updates(params, updates)
        mean = jax.tree.map(lambda m, w: 0.9 * m + 0.1 * w, mean, params)
    assert_close(state[1].mean, mean)


def test_the_mean_of_bfloat16_params_is_float32():
    optimizer, w = optim.ema_params(0.999), jnp.ones(3, jnp.bfloat16)
    state = optimizer.init(w)
    for _ in range(10):
        _, state = optimizer.update(w, state, w)
    assert state.mean.dtype == jnp.float32
    np.testing.assert_allclose(state.mean, 1 + (1 - 0.999**10), rtol=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_bad_gradients_are_skipped_and_then_shown(bad):
    optimizer, w = optim.apply_if_finite(optim.sgd(0.1, 0.9), 2), jnp.ones(2)
    state = optimizer.init(w)
    wrong, update = jnp.asarray([1.0, bad]), jax.jit(optimizer.update)
    for row in (1, 2):
        updates, state = update(wrong, state)
        np.testing.assert_array_equal(updates, 0)
        np.testing.assert_array_equal(state.inner.momentum, 0)
        assert (state.row, state.total, state.inner.step) == (row, row, 0)
    updates, _ = update(wrong, state)
    assert not np.isfinite(updates).all()
    updates, state = update(w, state)
    np.testing.assert_allclose(updates, -0.1)
    assert (state.row, state.total, state.inner.step) == (0, 2, 1)


def test_noise_has_the_variance_it_says():
    w, optimizer = jnp.zeros(100_000), optim.add_noise(0.5, 0.55, KEY)
    state = optimizer.init(w)
    for t in (1, 2, 3):
        noise, state = optimizer.update(w, state)
        np.testing.assert_allclose(noise.var(), 0.5 / t**0.55, rtol=0.03)
        assert abs(noise.mean()) < 0.01


def test_adaptive_clipping_is_by_output():
    w = jnp.asarray([[3.0, 0.0], [4.0, 0.0]])
    g = jnp.asarray([[30.0, 30.0], [40.0, 40.0]])
    updates, _ = optim.adaptive_grad_clip(0.1, 0.01).update(g, (), w)
    np.testing.assert_allclose(updates[:, 0], [0.3, 0.4])  # a norm of 0.1 * 5
    np.testing.assert_allclose(updates[:, 1], [0.0006, 0.0008])  # a norm of 0.1 * 0.01


def test_frozen_leaves_need_no_state():
    optimizers = {"train": optim.adam(0.1), "frozen": optim.freeze(True)}
    where = {"stem": "frozen", "body": "train", "head": "train"}
    optimizer = optim.partition(optimizers, where)
    state = optimizer.init(PARAMS)
    assert state.inner["train"].mu["stem"] == Block(None, None)
    updates, _ = optimizer.update(first(GRADS), state)
    assert not any(jnp.any(a) for a in jax.tree.leaves(updates["stem"]))
    assert all(jnp.all(a) for a in jax.tree.leaves(updates["body"]))


# inject


def test_a_hyperparameter_changes_without_compiling():
    optimizer = optim.inject(optim.sgd, learning_rate=0.1, momentum=0.5)
    w = jnp.ones(2)
    state, update = optimizer.init(w), jax.jit(optimizer.update)
    updates, state = update(w, state)
    np.testing.assert_allclose(updates, -0.1)
    updates, state = update(w, state.change(learning_rate=0.01))
    np.testing.assert_allclose(updates, -0.015)
    assert update._cache_size() == 1


def test_schedules_are_seen_in_the_state():
    schedule = optim.linear_schedule(0.1, 0.0, 10)
    optimizer = optim.inject(optim.sgd, learning_rate=schedule)
    w = jnp.ones(2)
    state = optimizer.init(w)
    for step in range(3):
        _, state = optimizer.update(w, state)
        np.testing.assert_allclose(
            state.hyperparameters["learning_rate"], schedule(step), rtol=1e-12
        )


def test_what_is_not_injected_cannot_change():
    state = optim.inject(optim.sgd, learning_rate=0.1).init(jnp.ones(2))
    with pytest.raises(
        ValueError,
        match=r"^InjectState has hyperparameters \['learning_rate'\]; got 'momentum'.$",
    ):
        state.change(momentum=0.5)


def test_inject_raises_at_once():
    with pytest.raises(ValueError, match=r"^adamw needs b1 in \[0, 1\); got 1.5.$"):
        optim.inject(optim.adamw, learning_rate=0.1, b1=1.5)


# further arguments


def test_chains_pass_further_arguments_to_those_that_take_them():
    seen = []

    def update(grads, state, params=None, *, loss):
        seen.append(loss)
        return grads, state

    takes = optim.Optimizer(lambda params: (), update)
    inner = optim.chain(optim.sgd(0.1), takes, optax.scale(1.0))
    for wrapped in (
        inner,
        optim.masked(inner, True),
        optim.lookahead(inner),
        optim.apply_if_finite(inner, 1),
        optim.accumulate(inner, 1),
        optim.schedule_free(inner, 0.1),
        optim.inject(lambda learning_rate: inner, learning_rate=0.1),
    ):
        w = jnp.ones(2)
        wrapped.update(w, wrapped.init(w), w, loss="f", other=3)
    assert seen == ["f"] * 7


def test_optax_members_get_theirs():
    def loss(w):
        return jnp.sum(w**2)

    w = jnp.ones(2)
    search = optax.scale_by_backtracking_linesearch(max_backtracking_steps=5)
    with jax.numpy_dtype_promotion("standard"):
        optimizer = optim.chain(optim.sgd(1.0), search)
        value, grad = jax.value_and_grad(loss)(w)
        given = {"value": value, "grad": grad, "value_fn": loss}
        updates, _ = optimizer.update(grad, optimizer.init(w), w, **given)
    assert loss(w + updates) < value


def test_hutchinson_is_the_diagonal_of_a_diagonal():
    scales = jnp.asarray([1.0, 2.0, 30.0])

    def loss(w):
        return jnp.sum(scales * w["w"] ** 2) / 2

    params = {"w": jnp.ones(3), "none": None}
    estimator = optim.hutchinson(KEY)
    state = estimator.init(params)
    found, after = estimator.update(params, state, params, loss=loss)
    np.testing.assert_allclose(found["w"], scales)
    assert not np.array_equal(state.key, after.key)


def test_hutchinson_has_the_diagonal_as_mean():
    half = jax.random.normal(KEY, (4, 4))
    hessian = half @ half.T
    estimator = optim.hutchinson(KEY)

    def body(state, _):
        w = jnp.zeros(4)
        found, state = estimator.update(w, state, w, loss=lambda w: w @ hessian @ w / 2)
        return state, found

    _, found = jax.lax.scan(body, estimator.init(None), None, 4000)
    error = found.std(0) / 4000**0.5
    assert (abs(found.mean(0) - jnp.diag(hessian)) < 5 * error).all()


# errors


@pytest.mark.parametrize(
    "call, error, message",
    [
        (
            lambda: optim.clip(-1.0),
            ValueError,
            "clip needs limit of at least 0.0; got -1.0.",
        ),
        (
            lambda: optim.scale_by_schedule(0.1),
            TypeError,
            "scale_by_schedule needs a function of the step; got float.",
        ),
        (
            lambda: optim.accumulate(optim.sgd(0.1), 0),
            ValueError,
            "accumulate needs every of at least 1; got 0.",
        ),
        (
            lambda: optim.lookahead(optim.sgd, 5),
            TypeError,
            "lookahead needs optimizers, each with init and update; got function.",
        ),
        (
            lambda: optim.schedule_free(optim.sgd(0.1), 0.1, 0.0),
            ValueError,
            "schedule_free needs beta above 0; got 0.0.",
        ),
        (
            lambda: optim.lookahead(optim.sgd(0.1), alpha=1.5),
            ValueError,
            r"lookahead needs alpha in \[0, 1\]; got 1.5.",
        ),
        (
            lambda: optim.muon(0.1, adam_b1=1.0),
            ValueError,
            r"muon needs adam_b1 in \[0, 1\); got 1.0.",
        ),
        (
            lambda: optim.add_noise(0.1, 0.5, jnp.ones(2)),
            TypeError,
            r"add_noise needs a jax.random.key; got Array.*",
        ),
        (
            lambda: optim.add_noise(0.1, 0.5, 3),
            TypeError,
            "add_noise needs a jax.random.key; got 3.",
        ),
        (
            lambda: optim.schedule_free_params(optim.ClipState(), jnp.ones(2)),
            ValueError,
            "schedule_free_params needs the state of schedule_free; got ClipState.",
        ),
        (
            lambda: optim.partition({"a": optim.sgd(0.1)}, "b").init(jnp.ones(2)),
            ValueError,
            "partition needs an optimizer for each label; got label 'b' and optimizers "
            r"for \[\"'a'\"\].",
        ),
        (
            lambda: optim.adamw(0.1, mask={"b": True}).update(
                {"a": jnp.ones(2)},
                optim.adamw(0.1).init({"a": jnp.ones(2)}),
                {"a": jnp.ones(2)},
            ),
            ValueError,
            "adamw needs a mask whose structure is that of params, or a prefix of it; .*",
        ),
        (
            lambda: optim.muon(0.1, matrices=True).update(
                jnp.ones(2), optim.muon(0.1, matrices=True).init(jnp.ones(2)), jnp.ones(2)
            ),
            ValueError,
            r"muon needs matrices of two axes or more; got shape \(2,\) at the root.",
        ),
        (
            lambda: optim.hutchinson(KEY).update(jnp.ones(2), None, jnp.ones(2)),
            TypeError,
            "hutchinson needs loss, a function of params: .*; got NoneType.",
        ),
        (
            lambda: optim.radam(0.1, threshold=3.0),
            ValueError,
            "radam needs threshold of at least 4; got 3.0.",
        ),
    ],
)
def test_wrong_use(call, error, message):
    with pytest.raises(error, match=f"^{message}$"):
        call()
