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
import options
import picture
import rates

from funcnn import optim, train
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
    return digits.shifted_loss(model(), params, batch, key)


def optimizer(steps: int) -> optim.Optimizer:
    """Adam with clipping and weight decay."""
    return optim.chain(
        optim.clip_by_global_norm(1.0),
        optim.add_decayed_weights(1e-4),
        optim.adam(rates.warm_then_falling(3e-3, steps)),
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
    adam = optimizer(steps)
    if dtype == "float16":  # its numbers reach no further down than 6e-8
        adam = train.dynamic_loss_scale(adam, growth_interval=200)
    with contextlib.ExitStack() as stack:
        kept = {}
        if run is not None:
            checkpoints = stack.enter_context(train.Checkpoints(run / "checkpoints"))
            kept = {"checkpoints": checkpoints, "logs": train.JSONLog(run / "log.jsonl")}
        return digits.fit(
            data, model(), loss, adam, steps=steps, seed=seed, dtype=dtype, **kept
        )


def main():
    parser = options.parser("Train a CNN on handwritten digits.", STEPS, "out/cnn.png")
    parser.add_argument(
        "--dtype", choices=DTYPES, default="float32", help="to compute in (%(default)s)"
    )
    parser.add_argument("--run", type=Path, help="a folder for checkpoints and a log")
    args = parser.parse_args()
    data = digits.load(args.seed)
    params, history = fit(
        data, steps=args.steps, seed=args.seed, dtype=args.dtype, run=args.run
    )
    filters = params["stem"][0]["weight"]
    picture.tell_and_draw(args.out, "CNN", model(), params, history, filters, data.test)


if __name__ == "__main__":
    main()
