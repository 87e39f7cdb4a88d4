"""optax's optimizers where they are made otherwise than ours, made like ours."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib

from funcnn import optim
from tests.support.optim_runs import PARAMS


def rate(step):
    return 0.1 / (1.0 + 0.01 * step.astype(float))


def matrices(params):
    return jax.tree.map(lambda w: w.ndim == 2, params)


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


def decaying(direction):
    """optax's chain of a direction, weights that decay where they are matrices, a rate."""
    return optax.chain(
        direction,
        optax.add_decayed_weights(0.1, matrices),
        optax.scale_by_learning_rate(rate),
    )


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
