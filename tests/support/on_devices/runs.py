"""A run that goes on in another layout from the checkpoints of the first."""

import jax
import numpy as np
from jax.sharding import PartitionSpec as P

from funcnn import layers, losses, optim, train
from tests.support.drawn_params import drawn_state

KEY = jax.random.key(0)
MODEL = layers.Serial(
    up=layers.Dense(64), tanh=layers.Tanh(), drop=layers.Dropout(0.2), down=layers.Dense(8)
)
OPTIMIZER = optim.adam(1e-2)
RNG = np.random.default_rng(0)
DATA = RNG.standard_normal((96, 16), dtype=np.float32), RNG.integers(0, 8, 96)


def loss(params, batch, key):
    x, labels = batch
    return losses.softmax_cross_entropy(MODEL.apply(params, x, key=key), labels)


def run(directory, steps, layout, per_call=1):
    """Return the losses of a run that goes on as far as `steps`, and its last state."""
    with train.Checkpoints(directory) as checkpoints:
        state, history = train.fit(
            train.make_step(loss, OPTIMIZER),
            drawn_state(MODEL, OPTIMIZER, (1, 16)),
            train.prefetch(train.batches(DATA, 16, key=KEY)),
            steps=steps,
            checkpoints=checkpoints,
            layout=layout,
            steps_per_call=per_call,
        )
    return history.metrics["loss"], state


def main(folder, thorough):
    """Through all layouts, or all but one; in one of them three steps are a call."""
    state = drawn_state(MODEL, OPTIMIZER, (1, 16))
    mesh = jax.make_mesh((4, 2), ("data", "model"))
    eight = jax.make_mesh((8,), ("data",))
    rules = [("up/weight", P(None, "model"))]
    legs = [
        (None, 1),
        *([(train.shard(state, eight), 1)] if thorough else []),
        (train.shard(state, eight, fully="data"), 3),
        (train.shard(state, mesh, rules=rules, fully="data"), 1),
    ]
    want, _ = run(folder / "whole", 3 * len(legs), None)
    got = []
    for i, (layout, per_call) in enumerate(legs):
        found, state = run(folder / "parts", 3 * (i + 1), layout, per_call)
        got.extend(found)
    np.testing.assert_allclose(got, want, rtol=1e-5)
    spec = state.params["up"]["weight"].sharding.spec
    assert spec == P("data", "model"), spec
