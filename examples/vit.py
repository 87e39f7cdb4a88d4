"""A vision transformer (Dosovitskiy et al., 2020, arXiv:2010.11929) on handwritten digits.

python examples/vit.py --steps 900 --seed 0 --out out/vit.png

An image is a row of 16 patches of 2 x 2 pixels, and a token of its own, which is read in
the end.
"""

import digits
import jax.numpy as jnp
import options
import picture
import rates

from funcnn import layers, optim

STEPS = 900
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
    return digits.shifted_loss(model(), params, batch, key)


def optimizer(steps: int) -> optim.Optimizer:
    """Muon of each layer's matrices, Adam of what else there is, with clipping."""
    muon = optim.muon(
        rates.warm_then_falling(1e-2, steps),
        weight_decay=0.05,
        matrices=optim.decay_mask,
        adam_learning_rate=rates.warm_then_falling(2e-3, steps),
    )
    # a stack holds its layers in one array: without, Muon would take biases for matrices
    return optim.chain(optim.clip_by_global_norm(1.0), optim.per_layer(muon, "blocks/*"))


def fit(data: digits.Digits, *, steps: int = STEPS, seed: int = 0):
    """Return the params after the last step, and the history of how they came about."""
    return digits.fit(data, model(), loss, optimizer(steps), steps=steps, seed=seed)


def main():
    parser = options.parser(
        "Train a vision transformer on handwritten digits.", STEPS, "out/vit.png"
    )
    args = parser.parse_args()
    data = digits.load(args.seed)
    params, history = fit(data, steps=args.steps, seed=args.seed)
    filters = params["patches"]["weight"]
    picture.tell_and_draw(args.out, "ViT", model(), params, history, filters, data.test)


if __name__ == "__main__":
    main()
