"""What the examples of digits share: the data, how a model learns it and is judged.

The data comes with scikit-learn: 1797 digits that 43 people wrote, 8 x 8 pixels of 17
shades each. A fifth of them is held back: no run learns from it, or stops by it.
"""

import logging
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from sklearn import datasets, model_selection

from funcnn import losses, optim, train
from funcnn.layers import Layer

# Not about the run: that there is no GPU, that a cache of fonts is built, once.
for name in ("jax", "matplotlib"):
    logging.getLogger(name).setLevel(logging.ERROR)

SHAPE = (1, 8, 8, 1)  # one image, channels last
BATCH = 128
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


def cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """The mean loss of a batch, with smoothed labels."""
    return losses.softmax_cross_entropy(logits, labels, label_smoothing=SMOOTHING)


def shifted_loss(model: Layer, params, batch: Split, key: jax.Array) -> jax.Array:
    """The loss of shifted images, with dropout: the key decides both."""
    shift_key, dropout_key = jax.random.split(key)
    images = shift(shift_key, batch.images)
    return cross_entropy(model.apply(params, images, key=dropout_key), batch.labels)


def fit(
    data: Digits,
    model: Layer,
    loss: Callable,
    optimizer: optim.Optimizer,
    *,
    steps: int,
    seed: int,
    dtype: str = "float32",
    **options: Any,
) -> tuple[Any, train.History]:
    """Train a model on shuffled batches, and judge it some forty times on the way.

    Args:
        data: from `load`.
        model: what is trained.
        loss: `loss(params, batch, key)`, of a batch that is a `Split`.
        optimizer: how its gradient is followed.
        steps: how many batches there are.
        seed: decides the first params, the order of the data, and what losses draw.
        dtype: what the loss is computed in.
        **options: what else `train.fit` is to be given.

    Returns:
        The params after the last step, and the history of how they came about.
    """
    init_key, order_key = jax.random.split(jax.random.key(seed))
    state, history = train.fit(
        train.make_step(loss, optimizer, compute_dtype=dtype),
        train.init(init_key, model, optimizer, SHAPE),
        train.batches(data.train, BATCH, key=order_key),
        steps=steps,
        evaluate=evaluator(model, data),
        eval_every=max(1, steps // 40),
        progress=True,
        **options,
    )
    return state.params, history


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


def verdict(accuracy: float, count: int) -> str:
    """How well digits that were held back are read, in words."""
    return f"Test accuracy: {accuracy:.2%} of {count} digits held back."


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
