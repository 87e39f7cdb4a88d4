"""A small network, its data and one step, compiled once for all runs of it."""

import contextlib

import jax
import jax.numpy as jnp
import numpy as np

from funcnn import layers, losses, optim, train

KEY = jax.random.key(0)
MODEL = layers.Serial(
    body=layers.Serial(layers.Dense(8), layers.Tanh(), layers.Dropout(0.2)),
    head=layers.Dense(3),
)
OPTIMIZER = optim.adam(0.05)


def loss(params, batch, key):
    x, labels = batch
    return losses.softmax_cross_entropy(MODEL.apply(params, x, key=key), labels)


STEP = train.make_step(loss, OPTIMIZER)


def start(optimizer=OPTIMIZER, model=MODEL):
    return train.init(KEY, model, optimizer, (1, 4))


def arrays(n=48):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, 4)).astype(np.float32)
    return x, (x @ rng.standard_normal((4, 3))).argmax(-1)


def data(epochs=None):
    """Six batches of eight an epoch."""
    return train.batches(arrays(), 8, key=jax.random.key(1), epochs=epochs)


@jax.jit
def _loss_of_all(params):
    x, labels = arrays()
    return losses.softmax_cross_entropy(MODEL.apply(params, x), labels)


def measure(params):
    """An evaluation."""
    return {"loss": _loss_of_all(params)}


def numbers(tree):
    """The arrays of a pytree in NumPy, those of keys too."""

    def leaf(a):
        key = jnp.issubdtype(a.dtype, jax.dtypes.prng_key)
        return np.array(jax.random.key_data(a) if key else a)

    return jax.tree.map(leaf, tree)


def assert_same(got, want, **tolerance):
    """Check that pytrees of arrays, and of keys, have the same numbers."""
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, **tolerance or {"rtol": 0}),
        numbers(got),
        numbers(want),
    )


class Watched:
    """Data that does something just before it gives batch `at`."""

    def __init__(self, at, act):
        self._data, self._at, self._act, self._given = data(), at, act, 0

    def __iter__(self):
        return self

    def __next__(self):
        if self._given == self._at:
            self._act()
        self._given += 1
        return next(self._data)

    def get_state(self):
        return self._data.get_state()

    def set_state(self, state):
        self._data.set_state(state)


def fail():
    raise RuntimeError("planted")


@contextlib.contextmanager
def as_a_user_has_it():
    """JAX without what conftest.py sets: no float64, and promotion as it usually is."""
    with jax.enable_x64(False), jax.numpy_dtype_promotion("standard"):
        yield
