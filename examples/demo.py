"""What funcnn does, from verified gradients to a picture.

Verifies every op, compares a whole CNN's hand-written gradient with autodiff and with
finite differences, trains an MLP and the CNN on handwritten digits, and draws the run:

python examples/demo.py --out out/demo.png
"""

import sys
import textwrap
import time

import cnn
import digits
import jax
import mlp
import numpy as np
import options
import picture
from jax.flatten_util import ravel_pytree
from tqdm import tqdm

from funcnn import verify


def main():
    parser = options.parser(
        "Verify the gradients, train on handwritten digits, draw what came of it.",
        steps=cnn.STEPS,
        out="out/demo.png",
    )
    parser.add_argument("--skip-verify", action="store_true", help="train and draw only")
    args = parser.parse_args()
    start = time.perf_counter()
    data = digits.load(args.seed)
    if not args.skip_verify:
        verify_ops()
        verify_cnn(data, args.seed)
    train_and_draw(data, args)
    say(f"Done in {time.perf_counter() - start:.0f} s.")


def verify_ops():
    heading("1. Every op's backward pass, written by hand, against its definition")
    say(
        "For each op, on cases that include hard numbers and odd shapes: the worst "
        "relative error of each claim, in float64. `vjp` compares with what autodiff "
        "makes of the textbook definition, `diff` with finite differences. "
        "This takes about a minute."
    )
    with tqdm(unit="case", leave=False, dynamic_ncols=True) as bar:

        def progress(done, total):
            bar.total = total
            bar.update(done - bar.n)

        report = verify.check_ops(progress=progress)
    finish(report)


def verify_cnn(data, seed):
    heading("2. The gradient of a whole CNN, leaf by leaf")
    say(
        "The CNN that is trained below, its loss on eight digits, dropout included: its "
        "gradient by the hand-written rules against autodiff's (`vjp`) and finite "
        "differences (`diff`), for each array of its params. Noise is added to these "
        "first, as initial scales of 1 and biases of 0 could hide mistakes."
    )
    batch = digits.Split(data.train.images[:8], data.train.labels[:8])
    init_key, noise_key, key = jax.random.split(jax.random.key(seed), 3)
    params = cnn.model().init(init_key, digits.SHAPE)
    flat, unravel = ravel_pytree(params)
    params = unravel(flat + 0.1 * jax.random.normal(noise_key, flat.shape))

    def loss(params):
        return cnn.loss(params, batch, key)

    finish(verify.compare(loss, params))


def train_and_draw(data, args):
    heading("3. Training on handwritten digits")
    say(
        f"{len(data.train.labels)} images of 8 x 8 pixels to learn from; "
        f"{len(data.test.labels)} are held back, for nothing but this measurement."
    )
    fits, examples = {}, {"MLP": mlp, "CNN": cnn}
    for name, example in examples.items():
        print(f"\n{name}, {args.steps} steps:", flush=True)
        fits[name] = params, history = example.fit(data, steps=args.steps, seed=args.seed)
        print(f"{name}: test accuracy {history.eval_metrics['test'][-1]:.2%}")

    params, _ = fits["CNN"]
    logits = jax.jit(cnn.model().apply)(params, data.test.images)
    print("\nWhat the CNN read, of the digits held back:\n")
    print(digits.confusion(data.test.labels, np.asarray(logits.argmax(-1))))

    histories = {name: history for name, (_, history) in fits.items()}
    filters = params["stem"][0]["weight"]
    picture.draw(args.out, histories, filters, data.test, logits)
    print(f"\nPicture: {args.out}")


def finish(report):
    """Print a report, and end here if a claim in it fails."""
    print(f"\n{report}", flush=True)
    if not report.ok:
        sys.exit(1)


def heading(text):
    print(f"\n{text}\n{'=' * len(text)}\n", flush=True)


def say(text):
    print(textwrap.fill(text, 79, break_on_hyphens=False), flush=True)


if __name__ == "__main__":
    main()
