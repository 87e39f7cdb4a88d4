"""Batches whose examples are numbered, so that it can be told which were taken."""

import itertools
import json

import jax
import numpy as np

from funcnn import train

KEY = jax.random.key(3)


def made(n=23, batch_size=4, key=KEY, epochs=None):
    x = np.arange(n)
    return train.batches(
        {"x": x, "y": (x[:, None] * [1, 2],)}, batch_size, key=key, epochs=epochs
    )


def taken(data, count=None):
    return [np.asarray(b["x"]).tolist() for b in itertools.islice(data, count)]


def through_json(state):
    return json.loads(json.dumps(state))
