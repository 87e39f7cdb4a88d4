"""A network of two layers, a loss and data for tests of steps, in a dtype of choice."""

import jax
import jax.numpy as jnp
import numpy as np

from funcnn import losses, optim, train
from funcnn.layers import Dense, Gelu, Serial

KEY = jax.random.key(0)
MODEL = Serial(Dense(16), Gelu(), Dense(3))
SHAPE = (1, 4)


def loss(params, batch, key):
    del key
    x, labels = batch
    logits = MODEL.apply(params, x)
    hits = (logits.argmax(-1) == labels).mean()
    return losses.softmax_cross_entropy(logits, labels), {"accuracy": hits}


def dataset(n=64, seed=0, dtype=np.float32):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, 4))
    return x.astype(dtype), (x @ rng.standard_normal((4, 3))).argmax(-1)


def start(optimizer, dtype=jnp.float32):
    return train.init(KEY, MODEL, optimizer, jax.ShapeDtypeStruct(SHAPE, dtype))


def learned(batches=100, **arguments):
    """State, last losses and metrics of a run over as many batches, in one call."""
    optimizer = arguments.pop("optimizer", optim.adam(0.02))
    step = jax.jit(train.scan_steps(train.make_step(loss, optimizer, **arguments)))
    x, labels = dataset(64 * batches)
    batches = x.reshape(batches, 64, 4), labels.reshape(batches, 64)
    state, metrics = step(start(optimizer), batches)
    return state, float(metrics["loss"][-10:].mean()), metrics


def bits(tree):
    """Arrays as what they are in memory, so that -0.0 is not 0.0 and NaN is itself."""
    leaves = jax.tree.leaves(tree)
    return [(np.asarray(a).dtype, np.asarray(a).tobytes()) for a in leaves]


def assert_close(got, want, rtol):
    jax.tree.map(lambda g, w: np.testing.assert_allclose(g, w, rtol, 0), got, want)
