"""A convolutional network on handwritten digits.

python examples/cnn.py --steps 600 --seed 0 --out out/cnn.png
python examples/cnn.py --dtype bfloat16
python examples/cnn.py --run out/cnn

With a dtype, the forward and the backward pass are computed in that, and the params that
are trained stay in float32. With a folder for its run, it writes checkpoints and a log
there, and, stopped and started again, goes on.

What there was to choose (rates, smoothing, shifts, length) was chosen on the splits that
seeds 10 to 15 make, not on the first few.
"""

import contextlib
from pathlib import Path

import digits
import jax
import jax.numpy as jnp
import picture

from funcnn import losses, optim, train
from funcnn.layers import (
    Conv,
    Dense,
    Dropout,
    Flatten,
    Gelu,
    Layer,
    LayerNorm,
    MaxPool,
    Residual,
    Serial,
)

STEPS = 600
BATCH = 128
DTYPES = ("float32", "bfloat16", "float16")


def model() -> Layer:
    """Return the network; the comments give its output's shape after each part."""
    return Serial(
        stem=Serial(Conv(32, 3), LayerNorm(), Gelu(), MaxPool(2)),  # (N, 4, 4, 32)
        block=Residual(Conv(32, 3), LayerNorm(), Gelu(), Conv(32, 3)),  # (N, 4, 4, 32)
        widen=Serial(LayerNorm(), Conv(64, 3), Gelu(), MaxPool(2)),  # (N, 2, 2, 64)
        head=Serial(Flatten(), Dropout(0.5), Dense(10)),  # (N, 10)
    )


def loss(params, batch: digits.Split, key):
    """Mean cross entropy of shifted images, with dropout: the key decides both."""
    shift_key, dropout_key = jax.random.split(key)
    images = digits.shift(shift_key, batch.images)
    logits = model().apply(params, images, key=dropout_key)
    return losses.softmax_cross_entropy(
        logits, batch.labels, label_smoothing=digits.SMOOTHING
    )


def optimizer(steps: int) -> optim.Optimizer:
    """Adam with clipping and weight decay, at a rate that warms up and then falls."""

    def rate(step):  # any function of the step will do
        warm = jnp.minimum(1, (step + 1) / 50)
        return 3e-3 * warm * (1 + jnp.cos(jnp.pi * step / steps)) / 2

    return optim.chain(
        optim.clip_by_global_norm(1.0),
        optim.add_decayed_weights(1e-4),
        optim.adam(rate),
    )


def fit(
    data: digits.Digits,
    *,
    steps: int = STEPS,
    seed: int = 0,
    dtype: str = "float32",
    run: Path | None = None,
):
    """Return the params after the last step, and the history of how they came about."""
    init_key, order_key = jax.random.split(jax.random.key(seed))
    adam = optimizer(steps)
    if dtype == "float16":  # its numbers reach no further down than 6e-8
        adam = train.dynamic_loss_scale(adam, growth_interval=200)
    with contextlib.ExitStack() as stack:
        kept = {}
        if run is not None:
            checkpoints = stack.enter_context(train.Checkpoints(run / "checkpoints"))
            kept = {"checkpoints": checkpoints, "logs": train.JSONLog(run / "log.jsonl")}
        state, history = train.fit(
            train.make_step(loss, adam, compute_dtype=dtype),
            train.init(init_key, model(), adam, digits.SHAPE),
            train.batches(data.train, BATCH, key=order_key),
            steps=steps,
            evaluate=digits.evaluator(model(), data),
            eval_every=max(1, steps // 40),
            progress=True,
            **kept,
        )
    return state.params, history


def main():
    parser = digits.arguments("Train a CNN on handwritten digits.", STEPS, "out/cnn.png")
    parser.add_argument(
        "--dtype", choices=DTYPES, default="float32", help="to compute in (%(default)s)"
    )
    parser.add_argument("--run", type=Path, help="a folder for checkpoints and a log")
    args = parser.parse_args()
    data = digits.load(args.seed)
    params, history = fit(
        data, steps=args.steps, seed=args.seed, dtype=args.dtype, run=args.run
    )
    accuracy = history.eval_metrics["test"][-1]
    print(f"Test accuracy: {accuracy:.2%} of {len(data.test.labels)} digits held back.")
    logits = jax.jit(model().apply)(params, data.test.images)
    filters = params["stem"][0]["weight"]
    picture.draw(args.out, {"CNN": history}, filters, data.test, logits)
    print(f"Picture: {args.out}")


if __name__ == "__main__":
    main()
