"""Arrays of 1e5 elements, long reductions and long loops."""

import jax
import jax.numpy as jnp

from tests.catalogue.entry import Entry, rule
from tests.catalogue.right import array, labels, normal, uniform

softplus_rule = rule(jax.nn.softplus, lambda r, dy: (dy * jax.nn.sigmoid(r[0]),))
mean_square_rule = rule(lambda x: (x**2).mean(), lambda r, dy: (2 * dy / r[0].size * r[0],))
matmul_rule = rule(jnp.matmul, lambda r, dy: (dy @ r[1].T, r[0].T @ dy))
dot_rule = rule(jnp.vdot, lambda r, dy: (dy * r[1], dy * r[0]))
cumsum_rule = rule(lambda x: jnp.cumsum(x), lambda _, dy: (jnp.cumsum(dy[::-1])[::-1],))


def log_softmax(x):
    return jax.nn.log_softmax(x)


def log_softmax_bwd(y, dy):
    return (dy - jnp.exp(y) * dy.sum(),)


log_softmax_rule = rule(log_softmax, log_softmax_bwd, lambda x: (log_softmax(x),) * 2)


def recur(decay, x):
    """h[t] = decay[t] h[t-1] + x[t]"""

    def step(h, at):
        h = at[0] * h + at[1]
        return h, h

    return jax.lax.scan(step, jnp.zeros_like(x[0]), (decay, x))[1]


def recur_bwd(residuals, dy):
    """The same recurrence, run backwards."""
    decay, x = residuals
    later = jnp.concatenate([decay[1:], jnp.zeros_like(decay[:1])])
    dx = recur(later[::-1], dy[::-1])[::-1]
    before = jnp.concatenate([jnp.zeros_like(x[:1]), recur(decay, x)[:-1]])
    return dx * before, dx


recur_rule = rule(recur, recur_bwd)


def recur_reference(decay, x):
    def combine(left, right):
        return left[0] * right[0], right[0] * left[1] + right[1]

    return jax.lax.associative_scan(combine, (decay, x))[1]


def layer_norm(x):
    centred = x - x.mean(-1, keepdims=True)
    return centred * jax.lax.rsqrt((centred**2).mean(-1, keepdims=True) + 1e-6)


def layer_norm_bwd(residuals, dy):
    (x,) = residuals
    y = layer_norm(x)
    r = jax.lax.rsqrt(x.var(-1, keepdims=True) + 1e-6)
    return (r * (dy - dy.mean(-1, keepdims=True) - y * (y * dy).mean(-1, keepdims=True)),)


layer_norm_rule = rule(layer_norm, layer_norm_bwd)


def embed(table, ids):
    return jnp.take(table, ids, 0)


embed_rule = rule(
    embed,
    lambda r, dy: (jnp.zeros_like(r[0]).at[r[1]].add(dy), None),
)


def sort_bwd(order, dy):
    return (jnp.zeros_like(dy).at[order].set(dy, unique_indices=True),)


def sort_fwd(x):
    order = jnp.argsort(x)
    return jnp.take(x, order), order


sort_rule = rule(lambda x: jnp.sort(x), sort_bwd, sort_fwd)


def smooth(x, kernel):
    return jnp.convolve(x, kernel, "valid")


smooth_rule = rule(
    smooth,
    lambda r, dy: (
        jnp.convolve(dy, r[1][::-1], "full"),
        jnp.convolve(r[0][::-1], dy, "valid"),
    ),
)


def oscillate(x):
    """A harmonic oscillator, 10000 leapfrog steps, no custom rule."""

    def step(_, state):
        position, velocity = state
        velocity = velocity - 1e-2 * position
        return position + 1e-2 * velocity, velocity

    return jax.lax.fori_loop(0, 10_000, step, (x, jnp.zeros_like(x)))


spikes_rule = rule(
    lambda x: jnp.where(jnp.arange(x.size) % 9973 == 0, jnp.sin(x), 0),
    lambda r, dy: (jnp.where(jnp.arange(dy.size) % 9973 == 0, jnp.cos(r[0]) * dy, 0),),
)


ENTRIES = [
    Entry(
        "softplus_of_1e5",
        "As many outputs as inputs.",
        softplus_rule,
        lambda rng: (normal(rng, 100_000),),
        lambda x: jnp.log1p(jnp.exp(x)),
    ),
    Entry(
        "mean_square_of_1e5",
        "Each derivative is 1e-5, and one output hangs on all.",
        mean_square_rule,
        lambda rng: (normal(rng, 400, 250),),
        lambda x: jnp.vdot(x, x) / x.size,
    ),
    Entry(
        "matmul_256",
        "Sums of 256 products.",
        matmul_rule,
        lambda rng: (normal(rng, 256, 256), normal(rng, 256, 256)),
        jnp.matmul,
    ),
    Entry(
        "dot_of_1e5",
        "The sum of 1e5 products of both signs is a hundredth of its terms' sizes.",
        dot_rule,
        lambda rng: (normal(rng, 100_000), normal(rng, 100_000)),
        lambda a, b: (a * b).sum(),
    ),
    Entry(
        "cumsum_of_1e5",
        "The last outputs sum 1e5 elements; rounding grows along the array.",
        cumsum_rule,
        lambda rng: (1 + normal(rng, 100_000),),
        jnp.cumsum,
    ),
    Entry(
        "log_softmax_of_1e5",
        "Probabilities of 1e-5 each; the sum of all cotangents is in each.",
        log_softmax_rule,
        lambda rng: (normal(rng, 100_000),),
        lambda x: x - jax.scipy.special.logsumexp(x),
    ),
    Entry(
        "recurrence_of_512",
        "A loop whose rule runs it backwards; the reference is an associative scan.",
        recur_rule,
        lambda rng: (uniform(rng, 0.5, 1, 512, 2), normal(rng, 512, 2)),
        recur_reference,
    ),
    Entry(
        "layer_norm_512_by_128",
        "Many rows, each with sums of 128.",
        layer_norm_rule,
        lambda rng: (3 + 2 * normal(rng, 512, 128),),
        lambda x: jax.nn.standardize(x, epsilon=1e-6),
    ),
    Entry(
        "embedding_of_3000_rows",
        "Rows are gathered many times, once or never; cotangents add up.",
        embed_rule,
        lambda rng: (normal(rng, 3000, 16), labels(rng, 3000, 5000)),
        embed,
    ),
    Entry(
        "sort_of_1e4",
        "A permutation of data that finite steps must not change.",
        sort_rule,
        lambda rng: (array(rng.permutation(10_000) + rng.uniform(-0.3, 0.3, 10_000)),),
        jnp.sort,
    ),
    Entry(
        "convolution_of_2e4",
        "A kernel of 9 whose cotangent sums 2e4 products.",
        smooth_rule,
        lambda rng: (normal(rng, 20_000), normal(rng, 9)),
        lambda x, kernel: sum(
            x[i : x.size - 8 + i] * kernel[8 - i] for i in range(kernel.size)
        ),
    ),
    Entry(
        "oscillator_of_1e4_steps",
        "No custom rule; a loop of 1e4 steps, whose phase rounding shifts.",
        oscillate,
        lambda rng: (normal(rng, 3),),
    ),
    Entry(
        "few_of_1e5_matter",
        "Eleven elements of 1e5 have a derivative.",
        spikes_rule,
        lambda rng: (normal(rng, 100_000),),
        lambda x: jnp.sin(x) * (jnp.arange(x.size) % 9973 == 0),
    ),
]
