"""States to be saved, steps between saves, and how they are compared, to the bit."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np

from funcnn import layers, losses, optim, train

KEY = jax.random.key(5)
X = np.random.default_rng(0).standard_normal((40, 6))
DATA = (X, X[:, 0].astype(np.int32) % 3)


def model(hidden=8):
    return layers.Serial(
        stem=layers.Dense(hidden), drop=layers.Dropout(0.3), head=layers.Dense(3)
    )


def start(hidden=8, optimizer=None, key=KEY):
    return train.init(key, model(hidden), optimizer or optim.adam(0.01), (1, 6))


@jax.jit
def step(state, batch):
    def loss(params, batch, key):
        x, labels = batch
        logits = model().apply(params, x, key=key)
        return losses.softmax_cross_entropy(logits, labels)

    return train.make_step(loss, optim.adam(0.01))(state, batch)


donating = jax.jit(step, donate_argnums=0)


@functools.cache
def _first():
    return jax.jit(start)()


def at(count, state=None):
    """A state that says it is of a step."""
    state = _first() if state is None else state
    params = jax.tree.map(lambda a: a + count, state.params)
    return state._replace(step=jnp.asarray(count, jnp.int32), params=params)


def batches():
    return train.batches(DATA, 8, key=KEY)


def bits(tree):
    def numbers(a):
        a = jax.random.key_data(a) if jnp.issubdtype(a.dtype, jax.dtypes.prng_key) else a
        return np.array(a, copy=True)

    return jax.tree.map(numbers, tree)


def assert_same_bits(got, want):
    assert jax.tree.structure(got) == jax.tree.structure(want)
    for a, b in zip(jax.tree.leaves(bits(got)), jax.tree.leaves(bits(want)), strict=True):
        assert (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())


def exactly(message):
    return f"^{re.escape(message)}$"
