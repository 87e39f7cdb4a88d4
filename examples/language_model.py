"""A transformer that writes like Python's manual, against a strong model without a network.

python examples/language_model.py --steps 1000 --seed 0 --out out/language_model.png

Both learn from the same topics, and are judged by the bits they need for each character of
others; some 5 minutes on two cores.
"""

import time
from functools import partial

import bpe
import jax
import jax.numpy as jnp
import language_picture
import ngram
import numpy as np
import options
import rates
import topics
from tokenizers import Tokenizer

from funcnn import generation, layers, losses, ops, optim, train

STEPS = 1000
BATCH, LENGTH = 8, 256  # of a batch: rows, and tokens in each
TOKENS = 512
FEATURES, HEADS, DEPTH = 256, 4, 4
PROMPT = '\fThe "repeat" statement\n**********************\n\nThe "repeat" statement '
WRITE = 300  # tokens


def model(vocabulary: int) -> layers.Layer:
    return layers.Transformer(vocabulary, FEATURES, HEADS, DEPTH, dropout=0.15)


def optimizer(steps: int) -> optim.Optimizer:
    """AdamW with clipping; biases, norms and embeddings do not decay."""
    rate = rates.warm_then_falling(2e-3, steps, least=0.02)
    adamw = optim.adamw(rate, b2=0.99, weight_decay=0.1, mask=optim.decay_mask)
    return optim.chain(optim.clip_by_global_norm(1.0), adamw)


def excerpts(ids: np.ndarray, seed: int):
    """Batches without end, of rows that start anywhere, one token longer than read."""
    rng = np.random.default_rng(seed)
    reach = np.arange(LENGTH + 1)
    while True:
        starts = rng.integers(0, len(ids) - LENGTH, BATCH)
        yield ids[starts[:, None] + reach]


def windows(ids: np.ndarray):
    """Rows of LENGTH + 1 tokens, half a length apart, and which predictions count.

    Those of the second half do, and of the first row all: each token but the text's first
    counts once, after at least half a length of what comes before, or all there is.
    """
    half = LENGTH // 2
    rows = max(1, -(-(len(ids) - 1) // half) - 1)
    at = np.arange(rows)[:, None] * half + np.arange(LENGTH + 1)
    counts = at[:, 1:] < len(ids)
    counts[1:, :half] = False
    return ids[at.clip(max=len(ids) - 1)], counts


def evaluator(layer: layers.Layer, ids: np.ndarray, characters: int):
    """Return `evaluate(params)`: the bits per character of a text."""

    def metrics(params, batch):
        rows, counts = batch
        nats = ops.softmax_cross_entropy(layer.apply(params, rows[:, :-1]), rows[:, 1:])
        return {"nats": jnp.where(counts, nats, 0).sum(-1)}

    data = windows(ids)
    mean = train.evaluator(metrics, data, batch_size=32)
    scale = len(data[0]) / np.log(2) / characters
    return lambda params: {"bits": scale * mean(params)["nats"]}


def fit(text: topics.Text, codec: Tokenizer, *, steps: int, seed: int):
    """Return the params after the last step, the history, and the seconds of training."""
    layer, adam = model(codec.get_vocab_size()), optimizer(steps)
    spent = []

    def loss(params, batch, key):
        x = layer.apply(params, batch[:, :-1], key=key, head=False)
        weight = layers.head_weight(params)
        return losses.linear_softmax_cross_entropy(x, weight, batch[:, 1:])

    measure = evaluator(layer, bpe.encode(codec, text.test), len(text.test) - 1)

    def evaluate(params):
        jax.block_until_ready(params)
        start = time.perf_counter()
        result = measure(params)
        spent.append(time.perf_counter() - start)
        return result

    start = time.perf_counter()
    shape = jax.ShapeDtypeStruct((BATCH, LENGTH), "int32")
    state, history = train.fit(
        train.make_step(loss, adam),
        train.init(jax.random.key(seed), layer, adam, shape),
        excerpts(bpe.encode(codec, text.train), seed),
        steps=steps,
        evaluate=evaluate,
        eval_every=max(1, steps // 18),
        progress=True,
    )
    return state.params, history, time.perf_counter() - start - sum(spent)


def baseline(text: topics.Text) -> tuple[int, float]:
    """The order that the last tenth of `train` chooses, and its bits on `test`."""
    index = {c: i for i, c in enumerate(text.characters)}
    learn, test = (np.array([index[c] for c in t]) for t in (text.train, text.test))
    cut = int(0.9 * len(learn))
    order = ngram.choose(learn[:cut], learn[cut:], len(index))
    return order, ngram.bits(ngram.fit(learn, order), test, len(index))


def write(params, codec: Tokenizer, seed: int) -> tuple[str, float]:
    """A text that goes on from the prompt, and how many tokens were written a second."""
    prompt = bpe.encode(codec, PROMPT)[None]
    layer = model(codec.get_vocab_size())
    drawn = {"steps": WRITE, "temperature": 0.7, "top_p": 0.9}
    generate = jax.jit(partial(generation.generate, layer, **drawn))
    compiled = generate.lower(params, prompt, jax.random.key(seed)).compile()
    start = time.perf_counter()
    ids = jax.block_until_ready(compiled(params, prompt, jax.random.key(seed)))
    return bpe.decode(codec, ids[0]), WRITE / (time.perf_counter() - start)


@jax.jit
def attention(params, ids: np.ndarray):
    """What each head looks at, (DEPTH, HEADS, T, T), and what the last block gives."""
    block = layers.TransformerBlock(HEADS, causal=True, rope=True)
    heads = layers.MultiHeadAttention(HEADS, causal=True, rope=True)
    x = ops.embed(params["tokens"]["table"], ids[None])
    maps = []
    for i in range(DEPTH):
        own = jax.tree.map(lambda a, i=i: a[i], params["blocks"])
        y = layers.LayerNorm().apply(own["attention_norm"], x)
        maps.append(heads.apply(own["attention"], y, return_weights=True)[1][0])
        x = block.apply(own, x)
    return jnp.stack(maps), x


def main():
    parser = options.parser(
        "Train a transformer to write like Python's manual.",
        STEPS,
        "out/language_model.png",
    )
    args = parser.parse_args()
    text = topics.load(args.seed)
    print(
        f"{len(text.train):,} characters to learn from; {len(text.test):,} in "
        f"{len(text.held_back)} topics are held back."
    )
    order, bar = baseline(text)
    print(f"Baseline, Kneser-Ney of order {order}: {in_words(bar)}", flush=True)

    codec = bpe.learn(text.train, text.characters, TOKENS)
    params, history, seconds = fit(text, codec, steps=args.steps, seed=args.seed)
    bits = history.eval_metrics["bits"][-1]
    print(f"Transformer, the same characters:  {in_words(bits)}")
    count = args.steps * BATCH * LENGTH
    print(f"Trained on {count:,} tokens, {count / seconds:,.0f} a second.")
    written, rate = write(params, codec, args.seed)
    print(f"Wrote {WRITE} tokens with a cache, {rate:,.0f} a second:\n")
    for line in written.replace("\f", "\n").split("\n"):
        print("\n".join(line[i : i + 78] for i in range(0, len(line) or 1, 78)))

    shown = bpe.encode(codec, text.test)[:40]
    pieces = [bpe.decode(codec, [i]) for i in shown]
    maps = np.asarray(attention(params, shown)[0])
    language_picture.draw(args.out, history, (order, bar), maps, pieces)
    print(f"\nPicture: {args.out}")


def in_words(bits: float) -> str:
    return f"{bits:.3f} bits a character, perplexity {2**bits:.2f}"


if __name__ == "__main__":
    main()
