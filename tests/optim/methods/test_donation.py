"""A donated update allocates no second copy of params and state."""

import jax
import jax.numpy as jnp
import pytest

from funcnn import optim
from tests.support.optim_makers import methods, ones


def nbytes(tree):
    return sum(a.size * a.dtype.itemsize for a in jax.tree.leaves(tree))


LOW = {"moments": jnp.bfloat16}
CLIP = optim.clip_by_global_norm(1.0)
# The scratch of a donated update, in sizes of the params.
SCRATCH = {
    "sgd": (optim.sgd(0.1, 0.9), 0),
    "adam": (optim.adam(0.1), 0),
    "adamw": (optim.adamw(0.1), 0),
    "nadam, weights decay": (optim.nadam(0.1, weight_decay=0.1), 0),
    "rmsprop": (optim.rmsprop(0.1, momentum=0.9), 0),
    "adagrad": (optim.adagrad(0.1), 0),
    "amsgrad": (optim.amsgrad(0.1), 0),
    "adamax": (optim.adamax(0.1), 0),
    "nadam": (optim.nadam(0.1), 0),
    "radam": (optim.radam(0.1), 0),
    "lion": (optim.lion(0.1), 0),
    "chain": (optim.chain(CLIP, optim.adamw(0.1)), 0),
    "sgd, bfloat16": (optim.sgd(0.1, 0.9, **LOW), 0),
    "adamw, bfloat16": (optim.adamw(0.1, **LOW), 0),
    "lion, bfloat16": (optim.lion(0.1, **LOW), 0),
    "lamb": (optim.lamb(0.1), 1),  # every leaf's step, until its norm is known
    "lars": (optim.lars(0.1), 1),
    "adadelta": (optim.adadelta(0.1), 1),
    "adafactor": (optim.adafactor(0.1), 1.01),
    "muon": (optim.muon(0.1), 4.25),
    "sophia": (optim.sophia(0.1, ones()), 0),
    "schedule_free": (optim.schedule_free(optim.sgd(0.1), 0.1), 1),
    "lookahead": (optim.lookahead(optim.adam(0.1)), 1),
}


def test_the_scratch_of_every_method_is_known():
    assert {*methods(), "lookahead"} <= {name.split(",")[0] for name in SCRATCH}


# One of each kind: with moments and without, with `keep`, weights, decay, the rate, chance.
QUICK = {"sgd", "adamw", "rmsprop", "adagrad", "adadelta", "lars", "lamb", "chain"}
QUICK |= {"adamw, bfloat16", "nadam, weights decay"}


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=() if n in QUICK else pytest.mark.exhaustive) for n in SCRATCH],
)
def test_a_donated_update_allocates_no_second_copy(name):
    """Not even of one of the leaves, and as many of the params as is told, no more."""
    optimizer, copies = SCRATCH[name]

    def step(params, state, grads):
        updates, state = optimizer.update(grads, state, params)
        return optim.apply_updates(params, updates), state

    leaf = jax.ShapeDtypeStruct((256, 256), jnp.float32)
    params = {str(i): leaf for i in range(4)}
    state = jax.eval_shape(optimizer.init, params)
    compiled = jax.jit(step, donate_argnums=(0, 1)).lower(params, state, params).compile()
    memory = compiled.memory_analysis()
    kept = nbytes((params, state))
    assert memory.alias_size_in_bytes >= kept - 64
    assert memory.output_size_in_bytes - memory.alias_size_in_bytes < 1024
    few = nbytes(leaf) / 4
    assert memory.temp_size_in_bytes <= copies * nbytes(params) + few


def test_the_memory_analysis_sees_a_copy():
    def step(params, state, grads):
        updates, state = optim.sgd(0.1).update(grads, state, params)
        return optim.apply_updates(params, updates), state

    w = jnp.zeros(2**18, jnp.float32)
    state = optim.sgd(0.1).init(w)
    memory = jax.jit(step).lower(w, state, w).compile().memory_analysis()
    assert memory.output_size_in_bytes - memory.alias_size_in_bytes >= w.nbytes
