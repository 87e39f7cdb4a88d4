"""A vision transformer (Dosovitskiy et al., 2020, arXiv:2010.11929) on handwritten digits.

python examples/vit.py --steps 900 --seed 0 --out out/vit.png

An image is a row of 16 patches of 2 x 2 pixels, and a token of its own, which is read in
the end.
"""

import digits
import jax
import jax.numpy as jnp
import picture

from funcnn import layers, losses, optim, train

STEPS = 900
BATCH = 128
FEATURES, HEADS, DEPTH = 48, 4, 4
PATCH = 2
PATCHES = (8 // PATCH) ** 2


def ClassToken() -> layers.Layer:
    """Put one more token before the others, (N, T, d) to (N, T + 1, d)."""

    def init(key, shape):
        return {"token": jnp.zeros(shape.shape[-1], shape.dtype)}

    def apply(params, x, *, key=None):
        token = jnp.broadcast_to(params["token"], (x.shape[0], 1, x.shape[-1]))
        return jnp.concatenate([token, x], 1)

    return layers.Layer(init, apply)


def model() -> layers.Layer:
    """Return the network; the comments give its output's shape after each part."""
    return layers.Serial(
        patches=layers.Conv(FEATURES, PATCH, PATCH, "VALID"),  # (N, 4, 4, d)
        row=layers.Lambda(lambda x: x.reshape(x.shape[0], PATCHES, FEATURES)),  # (N, 16, d)
        token=ClassToken(),  # (N, 17, d)
        positions=layers.PositionalEmbedding(PATCHES + 1, FEATURES),
        blocks=layers.Stack(layers.TransformerBlock(HEADS, dropout=0.1), DEPTH),
        norm=layers.LayerNorm(),
        first=layers.Lambda(lambda x: x[:, 0]),  # (N, d)
        head=layers.Dense(10),  # (N, 10)
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
    """AdamW with clipping, at a rate that warms up and then falls."""

    def rate(step):
        warm = jnp.minimum(1, (step + 1) / 50)
        return 2e-3 * warm * (1 + jnp.cos(jnp.pi * step / steps)) / 2

    return optim.chain(optim.clip_by_global_norm(1.0), optim.adamw(rate, weight_decay=0.05))


def fit(data: digits.Digits, *, steps: int = STEPS, seed: int = 0):
    """Return the params after the last step, and the history of how they came about."""
    init_key, order_key = jax.random.split(jax.random.key(seed))
    adam = optimizer(steps)
    state, history = train.fit(
        train.make_step(loss, adam),
        train.init(init_key, model(), adam, digits.SHAPE),
        train.batches(data.train, BATCH, key=order_key),
        steps=steps,
        evaluate=digits.evaluator(model(), data),
        eval_every=max(1, steps // 40),
        progress=True,
    )
    return state.params, history


def main():
    parser = digits.arguments(
        "Train a vision transformer on handwritten digits.", STEPS, "out/vit.png"
    )
    args = parser.parse_args()
    data = digits.load(args.seed)
    params, history = fit(data, steps=args.steps, seed=args.seed)
    accuracy = history.eval_metrics["test"][-1]
    print(f"Test accuracy: {accuracy:.2%} of {len(data.test.labels)} digits held back.")
    logits = jax.jit(model().apply)(params, data.test.images)
    filters = params["patches"]["weight"]
    picture.draw(args.out, {"ViT": history}, filters, data.test, logits)
    print(f"Picture: {args.out}")


if __name__ == "__main__":
    main()
