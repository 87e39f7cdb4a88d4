"""Every method is the one it says: 500 steps of it equal optax's or PyTorch's."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
import pytest

from funcnn import optim
from tests.support.optim_runs import PARAMS, Block, assert_close, trajectory


def rate(step):
    return 0.1 / (1.0 + 0.01 * step.astype(float))


def kernels_too(params):
    return jax.tree.map(lambda w: w.ndim >= 2, params)


def optax_adafactor(**arguments):
    """optax's parts, with its decay of step t in float64; theirs is float32."""

    def decay(step, exponent):
        return 1.0 - (step + 1).astype(float) ** -exponent

    scale = optax.scale_by_factored_rms(decay_rate_fn=decay, **arguments)
    return optax.chain(
        scale,
        optax.clip_by_block_rms(1.0),
        optax.scale_by_param_block_rms(),
        optax.add_decayed_weights(0.1),
        optax.scale_by_learning_rate(0.1),
    )


def optax_muon(muon_rate, adam_rate, matrices, **arguments):
    """optax's parts; its `muon` gives the rest to NAdamW, ours to AdamW."""

    def scaled(u):
        return u * max(1.0, u.shape[-1] / np.prod(u.shape[:-1])) ** 0.5

    def axes(params):
        del params  # some of which are masked
        return jax.tree.map(
            lambda m, w: numbers(w) if m else optax.transforms.MaskedNode(),
            matrices(PARAMS),
            PARAMS,
        )

    def numbers(w):
        return optax.contrib.MuonDimensionNumbers(tuple(range(w.ndim - 1)), w.ndim - 1)

    of_matrices = optax.chain(
        optax.contrib.scale_by_muon(weight_dimension_numbers=axes, **arguments),
        optax.stateless(lambda updates, _: jax.tree.map(scaled, updates)),
        optax.add_decayed_weights(0.1),
        optax.scale_by_learning_rate(muon_rate),
    )
    optimizers = {True: of_matrices, False: optax.adamw(adam_rate, weight_decay=0.0)}
    return optax.partition(optimizers, matrices)


def estimate():
    """A deterministic estimate of a Hessian's diagonal, for ours and for optax's."""

    def update(grads, state, params=None, **extra):
        return jax.tree.map(lambda g: 2.0 * g + 1.0, grads), state

    return optim.Optimizer(lambda params: (), update)


def optax_sophia(**arguments):
    """optax's, made to use an estimate in the update in which it is made."""
    estimator = optax.GradientTransformationExtraArgs(*estimate())
    whole = optax.contrib.sophia(rate, hessian_diagonal_fn=estimator, **arguments)

    def update(grads, state, params):
        _, after = whole.update(grads, state, params)
        first = state[0]._replace(nu=after[0].nu)
        updates, _ = whole.update(grads, (first, *state[1:]), params)
        return updates, after

    return optax.GradientTransformation(whole.init, update)


def optax_lookahead(optimizer, **arguments):
    """optax's, with its slow params in the state."""
    pair, synced = optax.LookaheadParams, optax.LookaheadParams.init_synced
    inner = optax.lookahead(optimizer, **arguments)

    def update(grads, state, params):
        slow, state = state
        updates, state = inner.update(grads, state, pair(params, slow))
        return updates.fast, (jax.tree.map(jnp.add, slow, updates.slow), state)

    return optax.GradientTransformation(
        lambda params: (params, inner.init(synced(params))), update
    )


def matrices(params):
    return jax.tree.map(lambda w: w.ndim == 2, params)


def decaying(direction):
    """optax's chain of a direction, weights that decay where they are matrices, a rate."""
    return optax.chain(
        direction,
        optax.add_decayed_weights(0.1, matrices),
        optax.scale_by_learning_rate(rate),
    )


DECAYS = {"stem": True, "body": False, "head": Block(True, None)}
PAIRS = {
    "sgd": (optim.sgd(rate), optax.sgd(rate)),
    "sgd, Nesterov": (optim.sgd(rate, 0.9, True), optax.sgd(rate, 0.9, True)),
    "rmsprop": (optim.rmsprop(rate), optax.rmsprop(rate)),
    "rmsprop, eps outside": (
        optim.rmsprop(rate, 0.99, 1e-3, eps_in_sqrt=False),
        optax.rmsprop(rate, 0.99, 1e-3, eps_in_sqrt=False),
    ),
    "rmsprop, centred": (
        optim.rmsprop(0.01, 0.9, 1e-3, True, 0.9),
        optax.rmsprop(0.01, 0.9, 1e-3, centered=True, momentum=0.9),
    ),
    "rmsprop, Nesterov": (
        optim.rmsprop(0.01, momentum=0.9, nesterov=True),
        optax.rmsprop(0.01, momentum=0.9, nesterov=True),
    ),
    "adagrad": (optim.adagrad(rate), optax.adagrad(rate)),
    "adagrad, from 0": (optim.adagrad(rate, 0.0, 0.1), optax.adagrad(rate, 0.0, 0.1)),
    "adadelta": (optim.adadelta(rate), optax.adadelta(rate)),
    "adadelta, all": (optim.adadelta(1.0, 0.8, 1e-3), optax.adadelta(1.0, 0.8, 1e-3)),
    "adam": (optim.adam(rate), optax.adam(rate)),
    "amsgrad": (optim.amsgrad(rate), optax.amsgrad(rate)),
    "amsgrad, all": (
        optim.amsgrad(rate, 0.8, 0.9, 1e-3),
        optax.amsgrad(rate, 0.8, 0.9, 1e-3),
    ),
    "amsgrad, weights decay": (
        optim.amsgrad(rate, weight_decay=0.1, mask=matrices),
        decaying(optax.scale_by_amsgrad()),
    ),
    "adamw": (
        optim.adamw(rate, weight_decay=0.1, mask=DECAYS),
        optax.adamw(
            rate, weight_decay=0.1, mask={"stem": True, "body": False, "head": True}
        ),
    ),
    "adamax": (optim.adamax(rate), optax.adamax(rate)),
    "adamax, all": (
        optim.adamax(rate, 0.8, 0.99, 1e-3),
        optax.adamax(rate, 0.8, 0.99, 1e-3),
    ),
    "adamax, weights decay": (
        optim.adamax(rate, weight_decay=0.1, mask=matrices),
        optax.adamaxw(rate, weight_decay=0.1, mask=matrices),
    ),
    "nadam": (optim.nadam(rate), optax.nadam(rate)),
    "nadam, weights decay": (
        optim.nadam(rate, weight_decay=0.1, mask=matrices),
        optax.nadamw(rate, weight_decay=0.1, mask=matrices),
    ),
    "nadam, all": (optim.nadam(rate, 0.8, 0.99, 1e-3), optax.nadam(rate, 0.8, 0.99, 1e-3)),
    "radam": (optim.radam(rate), optax.radam(rate)),
    "radam, a short memory": (optim.radam(rate, b2=0.99), optax.radam(rate, b2=0.99)),
    "radam, weights decay": (
        optim.radam(rate, weight_decay=0.1, mask=matrices),
        decaying(optax.scale_by_radam()),
    ),
    "radam, all": (
        optim.radam(rate, 0.8, 0.9, 1e-3, 4.5),
        optax.radam(rate, 0.8, 0.9, 1e-3, threshold=4.5),
    ),
    "lion": (optim.lion(rate), optax.lion(rate)),
    "lion, all": (
        optim.lion(rate, 0.8, 0.9, 0.1, mask=matrices),
        optax.lion(rate, 0.8, 0.9, weight_decay=0.1, mask=matrices),
    ),
    "lion, a short memory": (optim.lion(rate, 0.9, 0.3), optax.lion(rate, 0.9, 0.3)),
    "lion, arrays": (
        optim.lion(rate, jnp.asarray(0.9), jnp.asarray(0.99)),
        optax.lion(rate),
    ),
    "lamb": (optim.lamb(rate), optax.lamb(rate)),
    "lamb, all": (
        optim.lamb(rate, 0.8, 0.99, 1e-3, 0.1, mask=matrices),
        optax.lamb(rate, 0.8, 0.99, 1e-3, weight_decay=0.1, mask=matrices),
    ),
    "lars": (optim.lars(rate), optax.lars(rate)),
    "lars, all": (
        optim.lars(rate, 0.8, 0.1, 0.01, 0.1, True, mask=matrices),
        optax.lars(rate, 0.1, matrices, 0.01, 0.1, momentum=0.8, nesterov=True),
    ),
    "adafactor": (optim.adafactor(0.1, weight_decay=0.1), optax_adafactor()),
    "adafactor, factored": (
        optim.adafactor(0.1, 0.9, weight_decay=0.1, least_size=2),
        optax_adafactor(min_dim_size_to_factor=2, decay_rate=0.9),
    ),
    "muon": (
        optim.muon(rate, weight_decay=0.1, adam_learning_rate=0.01),
        optax_muon(rate, 0.01, matrices),
    ),
    "muon, kernels": (
        optim.muon(rate, 0.9, 0.1, nesterov=False, iterations=3, matrices=kernels_too),
        optax_muon(rate, rate, kernels_too, beta=0.9, nesterov=False, ns_steps=3),
    ),
    "sophia": (optim.sophia(rate, estimate()), optax_sophia()),
    "sophia, all": (
        optim.sophia(rate, estimate(), 0.9, 0.8, 1e-3, gamma=0.1, clip=0.5, every=3),
        optax_sophia(
            b1=0.9, b2=0.8, eps=1e-3, gamma=0.1, clip_threshold=0.5, update_interval=3
        ),
    ),
    "schedule_free": (
        optim.schedule_free(optim.sgd(0.1), 0.1),
        optax.contrib.schedule_free(optax.sgd(0.1), 0.1),
    ),
    "schedule_free, adam": (
        optim.schedule_free(optim.adam(rate, b1=0.0), rate, 0.8, 1.0),
        optax.contrib.schedule_free(
            optax.adam(rate, b1=0.0), lambda step: rate(step - 1), 0.8, 1.0
        ),
    ),
    "lookahead": (
        optim.lookahead(optim.adam(rate)),
        optax_lookahead(optax.adam(rate), sync_period=5, slow_step_size=0.5),
    ),
    "lookahead, all": (
        optim.lookahead(optim.sgd(rate, 0.9), 7, 0.8),
        optax_lookahead(optax.sgd(rate, 0.9), sync_period=7, slow_step_size=0.8),
    ),
    "scale_by_schedule": (optim.scale_by_schedule(rate), optax.scale_by_schedule(rate)),
    "scale_by_learning_rate": (
        optim.scale_by_learning_rate(rate),
        optax.scale_by_learning_rate(rate),
    ),
    "scale_by_adam": (optim.scale_by_adam(), optax.scale_by_adam()),
    "scale_by_rms": (
        optim.scale_by_rms(centered=True),
        optax.scale_by_stddev(),
    ),
    "scale_by_lion": (optim.scale_by_lion(), optax.scale_by_lion()),
    "scale_by_trust_ratio": (
        optim.scale_by_trust_ratio(0.1, 0.2),
        optax.scale_by_trust_ratio(trust_coefficient=0.1, eps=0.2),
    ),
}


def public_methods():
    """Public functions that take a learning rate, or make a direction."""
    for name, value in vars(optim).items():
        if inspect.isfunction(value):
            rated = "learning_rate" in inspect.signature(value).parameters
            if rated or name.startswith("scale_by_"):
                yield name


def test_every_method_is_compared():
    assert {*public_methods()} <= {name.split(",")[0] for name in PAIRS}


@pytest.mark.parametrize("name", PAIRS)
def test_equals_optax_for_500_steps(name):
    ours, theirs = PAIRS[name]
    assert_close(trajectory(ours), trajectory(theirs, "standard"))


@pytest.mark.parametrize(
    "name, faulty",
    [
        ("adamax", optim.adamax(rate, b2=0.999001)),
        ("lamb", optim.lamb(rate, weight_decay=1e-9)),
        ("lamb, all", optim.lamb(rate, 0.8, 0.99, 1e-3, 0.1)),
        ("nadam, weights decay", optim.nadam(rate, weight_decay=0.1)),
        ("radam", optim.radam(rate, threshold=6.5)),
        ("adafactor", optim.adafactor(0.1, 0.8000001, weight_decay=0.1)),
        ("schedule_free", optim.schedule_free(optim.sgd(0.1), 0.1, 0.9000001)),
    ],
)
def test_the_comparison_catches_a_planted_fault(name, faulty):
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        assert_close(trajectory(faulty), trajectory(PAIRS[name][1], "standard"))
