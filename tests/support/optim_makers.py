"""What makes each public optimizer, for a rate: tests of what holds for all take it."""

import inspect

import jax
import jax.numpy as jnp

from funcnn import optim

KEY = jax.random.key(0)


def ones():
    """An estimate of a Hessian's diagonal that needs no loss."""
    return optim.Optimizer(
        lambda params: (),
        lambda grads, state, params=None: (jax.tree.map(jnp.ones_like, grads), state),
    )


def waves(tree):
    """A loss of any params."""
    return sum(jnp.sum(jnp.cos(a)).astype(float) for a in jax.tree.leaves(tree))


def measured(rate):
    """Sophia by Hutchinson's estimate, of a loss that it need not be told."""
    whole = optim.sophia(rate, optim.hutchinson(KEY), every=2)

    def update(grads, state, params=None):
        return whole.update(grads, state, params, loss=waves)

    return optim.Optimizer(whole.init, update)


def matrices(params):
    return jax.tree.map(lambda w: w.ndim > 1, params)


# What makes an optimizer for a rate, where that is not all it needs.
SPECIAL = {
    "sgd": lambda rate: optim.sgd(rate, 0.9, True),
    "rmsprop": lambda rate: optim.rmsprop(rate, centered=True, momentum=0.9),
    "adafactor": lambda rate: optim.adafactor(rate, least_size=2),
    "sophia": lambda rate: optim.sophia(rate, ones(), every=2),
    "hutchinson": measured,
    "schedule_free": lambda rate: optim.schedule_free(optim.sgd(rate), rate),
    "lookahead": lambda rate: optim.lookahead(optim.adam(rate), 2),
    "accumulate": lambda rate: optim.accumulate(optim.adam(rate), 2),
    "apply_if_finite": lambda rate: optim.apply_if_finite(optim.adam(rate), 2),
    "partition": lambda rate: optim.partition(
        {True: optim.adam(rate), False: optim.sgd(rate, 0.9)}, matrices
    ),
    "per_layer": lambda rate: optim.partition(
        {True: optim.per_layer(optim.adam(rate), "*"), False: optim.sgd(rate)}, matrices
    ),
    "masked": lambda rate: optim.masked(optim.adam(rate), matrices),
    "master_weights": lambda rate: optim.master_weights(optim.adam(rate)),
    "stochastic_rounding": lambda rate: optim.stochastic_rounding(optim.adam(rate)),
    "inject": lambda rate: optim.inject(optim.adamw, learning_rate=rate, b1=0.8),
    "chain": lambda rate: optim.chain(
        optim.clip(1.0),
        optim.clip_by_global_norm(1.0),
        optim.clip_by_block_rms(0.5),
        optim.adaptive_grad_clip(0.1),
        optim.centralize(),
        optim.add_noise(0.1, 0.5, KEY),
        optim.trace(0.9),
        optim.scale_by_adam(),
        optim.scale_by_trust_ratio(),
        optim.add_decayed_weights(0.1),
        optim.scale(0.5),
        optim.scale_by_schedule(lambda step: 1.0),
        optim.scale_by_learning_rate(rate),
        optim.freeze(lambda params: jax.tree.map(lambda w: w.ndim == 0, params)),
        optim.ema_params(0.9),
    ),
}


# Transformations that are parts of the chain above, alone.
ALONE = {
    "add_noise": lambda rate: optim.add_noise(rate, 0.5, KEY),
    "centralize": lambda rate: optim.centralize(),
    "freeze": lambda rate: optim.freeze(matrices),
    "scale_by_adam": lambda rate: optim.scale_by_adam(),
    "scale_by_lion": lambda rate: optim.scale_by_lion(),
    "scale_by_rms": lambda rate: optim.scale_by_rms(),
    "scale_by_schedule": lambda rate: optim.scale_by_schedule(lambda step: rate),
    "scale_by_trust_ratio": optim.scale_by_trust_ratio,
}


def constructors():
    """Every public function that returns an optimizer, by name."""
    return {
        name: value
        for name, value in vars(optim).items()
        if inspect.isfunction(value)
        and inspect.signature(value).return_annotation is optim.Optimizer
    }


def methods():
    """Public functions that take a learning rate and are no part of another."""
    return [
        name
        for name, value in vars(optim).items()
        if inspect.isfunction(value)
        and "learning_rate" in inspect.signature(value).parameters
        and not name.startswith("scale_by_")
    ]


def makers():
    """What makes each public method and wrapper for a rate, and the transformations."""
    methods, parts = dict(SPECIAL), dict(ALONE)
    for name, value in constructors().items():
        if name not in methods | parts:
            parameters = inspect.signature(value).parameters
            needed = [p.name for p in parameters.values() if p.default is p.empty]
            rated = "learning_rate" in parameters
            assert len(needed) <= 1, f"name {name} in SPECIAL or ALONE"
            (methods if rated else parts)[name] = value
    return methods, parts


MAKERS, PARTS = makers()
