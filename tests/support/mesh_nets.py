"""A network in a stack, its state and rules for it, for tests of layouts."""

import jax
from jax.sharding import PartitionSpec as P

from funcnn import layers, optim, train
from tests.support.drawn_params import drawn_state

KEY = jax.random.key(0)
OPTIMIZER = optim.adam(1e-3)


def net():
    """Four layers in a stack of blocks, and a head that does not divide by much."""
    block = layers.Residual(
        norm=layers.RMSNorm(), up=layers.Dense(32), down=layers.Dense(16)
    )
    return layers.Serial(blocks=layers.Stack(block, 4), head=layers.Dense(10))


def state(optimizer=OPTIMIZER):
    return train.init(KEY, net(), optimizer, (8, 16))


def filled():
    """A state of the net with numbers that take no compiling."""
    return drawn_state(net(), OPTIMIZER, (8, 16))


TENSOR = [
    ("blocks/up/weight", P(None, None, "model")),
    ("*/up/bias", P(None, "model")),
    ("blocks/down/weight", P(None, "model")),
]
