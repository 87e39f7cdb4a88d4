"""A multilayer perceptron on handwritten digits.

python examples/mlp.py --steps 600 --seed 0
"""

import digits
import options

from funcnn import optim
from funcnn.layers import Dense, Dropout, Flatten, Layer, Relu, Serial

STEPS = 600


def model() -> Layer:
    return Serial(
        flatten=Flatten(),
        hidden=Serial(Dense(128), Relu(), Dropout(0.2)),
        logits=Dense(10),
    )


def loss(params, batch: digits.Split, key):
    logits = model().apply(params, batch.images, key=key)
    return digits.cross_entropy(logits, batch.labels)


def fit(data: digits.Digits, *, steps: int = STEPS, seed: int = 0):
    """Return the params after the last step, and the history of how they came about."""
    return digits.fit(data, model(), loss, optim.adam(2e-3), steps=steps, seed=seed)


def main():
    args = options.parser("Train an MLP on handwritten digits.", STEPS).parse_args()
    data = digits.load(args.seed)
    _, history = fit(data, steps=args.steps, seed=args.seed)
    print(digits.verdict(history.eval_metrics["test"][-1], len(data.test.labels)))


if __name__ == "__main__":
    main()
