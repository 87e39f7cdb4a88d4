"""Faults that a look at a few numbers passes over."""

import jax
import jax.numpy as jnp
import numpy as np

from ..entry import Entry, normals, pullback_of, rule

stop = jax.lax.stop_gradient


def sloped(slope):
    return rule(jnp.sin, lambda r, dy: (dy * slope(*r),))


def one_element(x):
    return jnp.cos(x).at[54_321].multiply(0.9)


def last_block_dropped(x):
    whole = len(x) // 8 * 8
    return jnp.cos(x).at[whole:].set(0)


def border_counted_twice(x):
    """Chunks of 30,000 share an element."""
    return jnp.cos(x).at[30_000:-1:30_000].multiply(2)


def hard_choice(x):
    return (x == x.max(-1, keepdims=True)).astype(x.dtype)


def softmax(x):
    return jnp.exp(x - jax.nn.logsumexp(x, axis=-1, keepdims=True))


def soft_choice_bwd(p, dy):
    return (p * (dy - (p * dy).sum(-1, keepdims=True)),)


def nearly_sine(x):
    return jnp.sin(x) * (1 + 1e-6), x


def log1p(x):
    return jnp.log1p(x)


def network(params, x):
    hidden = jnp.tanh(x @ params["in"]["weight"] + params["in"]["bias"])
    y = hidden @ params["layers"][0]["weight"] + params["layers"][0]["bias"]
    return jnp.tanh(y) @ params["layers"][1]["weight"] * params["scale"]


def one_leaf_missing(r, dy):
    dparams, dx = pullback_of(network)(r, dy)
    dparams["layers"][0]["bias"] = jnp.zeros_like(dparams["layers"][0]["bias"])
    return dparams, dx


def network_args(rng):
    w = iter(rng.standard_normal((4, 3, 3), np.float32))
    b = iter(rng.standard_normal((3, 3), np.float32))
    layers = [{"weight": next(w), "bias": next(b)}, {"weight": next(w)}]
    params = {"in": {"weight": next(w), "bias": next(b)}, "layers": layers}
    return {**params, "scale": next(b)}, next(w)


def dense(x, w):
    return x @ w


def remainder(x, m):
    return x - m * jnp.floor(x / m)


def divisor_constant(r, dy):
    return dy, jnp.zeros_like(r[1])


def tempered(x, temperature):
    return softmax(x / temperature)


def temperature_has_none(r, dy):
    return pullback_of(tempered)(r, dy)[0], None


def shape_forgotten(r, dy):
    x, w = r
    return (dy @ w.T)[0], x.T @ dy


def rounded_at_random(r, dy):
    """Right on average: the cotangent is rounded up or down by chance."""
    x, seed = r
    key = jax.random.wrap_key_data(seed)
    noise = jax.random.uniform(key, dy.shape, dy.dtype)
    return jnp.floor(dy * 64 + noise) / 64 * jnp.cos(x), None


def unused(x, spare):
    return jnp.sin(x)


def spare_has_one(r, dy):
    return dy * jnp.cos(r[0]), dy


ARRAY = normals((3, 4))


BIG = normals((100_000,))


ROWS = normals((4, 5), (5,), (5,))


def dividends(rng):
    return tuple(rng.uniform(low, high, 6) for low, high in ((2, 9), (1, 2)))


def entry(name, note, f, args=ARRAY, reference=jnp.sin):
    return Entry(name, note, f, args, reference)


ENTRIES = [
    entry(
        "one_in_a_hundred_thousand",
        "one element is off by a tenth",
        sloped(one_element),
        BIG,
    ),
    entry(
        "chunk_borders_counted_twice",
        "three elements of a hundred thousand are counted twice",
        sloped(border_counted_twice),
        BIG,
    ),
    entry(
        "last_block_dropped",
        "elements after the last whole block have a cotangent of 0",
        sloped(last_block_dropped),
        normals((37,)),
    ),
    entry("off_by_a_thousandth", "a factor of 0.999", sloped(lambda x: 0.999 * jnp.cos(x))),
    entry(
        "choice_soft_in_the_forward_rule",
        "called plainly it is the argmax, differentiated it is the softmax",
        rule(hard_choice, soft_choice_bwd, lambda x: (softmax(x), softmax(x))),
        ARRAY,
        hard_choice,
    ),
    entry(
        "value_of_the_forward_rule_off_by_a_millionth",
        "the forward rule's value is off by a factor of 1 + 1e-6",
        rule(jnp.sin, lambda x, dy: (dy * jnp.cos(x),), nearly_sine),
    ),
    entry(
        "log1p_operator_precedence",
        "dy / 1 + x for dy / (1 + x)",
        rule(log1p, lambda r, dy: (dy / 1 + r[0],)),
        lambda rng: (rng.uniform(0, 2, (3, 4)).astype(np.float32),),
        log1p,
    ),
    entry(
        "one_leaf_of_a_tree_missing",
        "one of seven leaves has a cotangent of 0",
        rule(network, one_leaf_missing),
        network_args,
        network,
    ),
    entry(
        "remainder_divisor_constant",
        "the divisor's cotangent, minus the quotient's floor, is 0",
        rule(remainder, divisor_constant),
        dividends,
        remainder,
    ),
    entry(
        "temperature_without_cotangent",
        "None stands for the cotangent of a float",
        rule(tempered, temperature_has_none),
        lambda rng: (*ARRAY(rng), np.asarray(rng.uniform(0.5, 2), np.float32)),
        None,
    ),
    entry(
        "cotangent_of_another_shape",
        "a batch of one is squeezed away: JAX raises",
        rule(dense, shape_forgotten),
        normals((1, 3), (3, 5)),
        dense,
    ),
    entry(
        "cotangent_rounded_at_random",
        "stochastic rounding: right on average, wrong each time",
        rule(lambda x, seed: jnp.sin(x), rounded_at_random),
        lambda rng: (*ARRAY(rng), rng.integers(0, 2**32, 2).astype(np.uint32)),
        lambda x, seed: jnp.sin(x),
    ),
    entry(
        "unused_argument_has_a_cotangent",
        "an argument that is not used has a cotangent",
        rule(unused, spare_has_one),
        normals((4,), (4,)),
        unused,
    ),
]
