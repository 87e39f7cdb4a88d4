"""What the examples share: the digits, how they are shifted, how a model is judged.

The data comes with scikit-learn: 1797 digits that 43 people wrote, 8 x 8 pixels of 17
shades each. A fifth of them is held back: no run learns from it, or stops by it.
"""

import argparse
import logging
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from sklearn import datasets, model_selection

from funcnn import train
from funcnn.layers import Layer

# Not about the run: that there is no GPU, that a cache of fonts is built, once.
for name in ("jax", "matplotlib"):
    logging.getLogger(name).setLevel(logging.ERROR)

SHAPE = (1, 8, 8, 1)  # one image, channels last
SMOOTHING = 0.1  # the share of each label that a loss spreads over all ten classes


class Split(NamedTuple):
    """Images of shape (N, 8, 8, 1), from 0 to 1 in float32, and labels of shape (N,)."""

    images: np.ndarray
    labels: np.ndarray


class Digits(NamedTuple):
    """What to learn from, and what is held back."""

    train: Split
    test: Split


def load(seed: int) -> Digits:
    """Split the digits, with a fifth of each class held back, as the seed decides."""
    images, labels = datasets.load_digits(return_X_y=True)
    images = (images / 16).astype(np.float32).reshape(-1, 8, 8, 1)
    labels = labels.astype(np.int32)
    train_images, test_images, train_labels, test_labels = model_selection.train_test_split(
        images, labels, test_size=0.2, stratify=labels, random_state=seed
    )
    return Digits(Split(train_images, train_labels), Split(test_images, test_labels))


def shift(key: jax.Array, images: jax.Array, reach: float = 0.5) -> jax.Array:
    """Move each image by up to `reach` pixels, along both axes, as the key decides.

    Pixels are interpolated linearly: row i of the result is the weighted mean of the
    rows within one pixel of i + dy, and those outside of the image are 0.
    """
    n, height, width, _ = images.shape

    def weights(key, size):
        moved = jax.random.uniform(key, (n, 1, 1), images.dtype, -reach, reach)
        to, of = jnp.mgrid[:size, :size].astype(images.dtype)
        return jnp.maximum(0, 1 - jnp.abs(to + moved - of))

    y_key, x_key = jax.random.split(key)
    rows, columns = weights(y_key, height), weights(x_key, width)
    return jnp.einsum("nij,njkc,nlk->nilc", rows, images, columns)


def evaluator(model: Layer, digits: Digits) -> Callable:
    """Return `evaluate(params)`: the accuracy on the images held back, and on the others.

    No key goes in, so nothing is dropped; nothing is shifted either.
    """

    def metrics(params, batch):
        return {"accuracy": model.apply(params, batch.images).argmax(-1) == batch.labels}

    on_test = train.evaluator(metrics, digits.test)
    on_train = train.evaluator(metrics, digits.train)

    def evaluate(params):
        return {
            "test": on_test(params)["accuracy"],
            "train": on_train(params)["accuracy"],
        }

    return evaluate


def least_loss() -> float:
    """The least cross entropy with smoothed labels: their entropy."""
    label = (1 - SMOOTHING) * np.eye(10)[0] + SMOOTHING / 10
    return float(-(label * np.log(label)).sum())


def confusion(labels: np.ndarray, predicted: np.ndarray) -> str:
    """What was written against what was read, as a table."""
    counts = np.zeros((10, 10), int)
    np.add.at(counts, (labels, predicted), 1)
    lines = ["        read as", "        " + "".join(f"{d:5}" for d in range(10))]
    for digit, row in enumerate(counts):
        cells = "".join(f"{n or '.':>5}" for n in row)
        lines.append(f"true {digit:2} {cells}   {row[digit]:3} of {row.sum()}")
    return "\n".join(lines)


def arguments(description: str, steps: int, out: str | None = None):
    """Return a parser of the options that the examples have in common."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "--steps", type=positive, default=steps, help="how long to train (%(default)s)"
    )
    parser.add_argument(
        "--seed", type=natural, default=0, help="decides all that is random (%(default)s)"
    )
    if out:
        parser.add_argument(
            "--out", default=out, metavar="PNG", help="the picture to write (%(default)s)"
        )
    return parser


def natural(text: str) -> int:
    """A number of at least 0."""
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"needs to be at least 0; got {number}")
    return number


def positive(text: str) -> int:
    """A number of at least 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"needs to be at least 1; got {number}")
    return number
