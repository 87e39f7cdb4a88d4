"""A multilayer perceptron on handwritten digits.

python examples/mlp.py --steps 600 --seed 0
"""

import digits
import jax

from funcnn import losses, optim, train
from funcnn.layers import Dense, Dropout, Flatten, Layer, Relu, Serial

STEPS = 600
BATCH = 128


def model() -> Layer:
    return Serial(
        flatten=Flatten(),
        hidden=Serial(Dense(128), Relu(), Dropout(0.2)),
        logits=Dense(10),
    )


def loss(params, batch: digits.Split, key):
    logits = model().apply(params, batch.images, key=key)
    return losses.softmax_cross_entropy(
        logits, batch.labels, label_smoothing=digits.SMOOTHING
    )


def fit(data: digits.Digits, *, steps: int = STEPS, seed: int = 0):
    """Return the params after the last step, and the history of how they came about."""
    init_key, order_key = jax.random.split(jax.random.key(seed))
    optimizer = optim.adam(2e-3)
    state, history = train.fit(
        train.make_step(loss, optimizer),
        train.init(init_key, model(), optimizer, digits.SHAPE),
        train.batches(data.train, BATCH, key=order_key),
        steps=steps,
        evaluate=digits.evaluator(model(), data),
        eval_every=max(1, steps // 40),
        progress=True,
    )
    return state.params, history


def main():
    args = digits.arguments("Train an MLP on handwritten digits.", STEPS).parse_args()
    data = digits.load(args.seed)
    _, history = fit(data, steps=args.steps, seed=args.seed)
    accuracy = history.eval_metrics["test"][-1]
    print(f"Test accuracy: {accuracy:.2%} of {len(data.test.labels)} digits held back.")


if __name__ == "__main__":
    main()
