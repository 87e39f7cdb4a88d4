"""Exactly at kinks, where most rules choose another subgradient than autodiff."""

import jax
import jax.numpy as jnp

from tests.catalogue.entry import Entry, rule
from tests.catalogue.right import array, grid, normal, uniform


def gate(open_at):
    """A rule that multiplies the cotangent by a function of the argument."""
    return lambda r, dy: (dy * open_at(r[0]),)


def relu(x):
    return jnp.maximum(x, 0)


relu_zero_rule = rule(relu, gate(lambda x: (x > 0).astype(x.dtype)))
relu_one_rule = rule(relu, gate(lambda x: (x >= 0).astype(x.dtype)))
relu_third_rule = rule(relu, gate(lambda x: jnp.where(x == 0, 0.3, x > 0)))
abs_zero_rule = rule(jnp.abs, gate(jnp.sign))
abs_one_rule = rule(jnp.abs, gate(lambda x: jnp.where(x < 0, -1.0, 1.0)))
leaky_rule = rule(
    lambda x: jnp.where(x >= 0, x, 0.1 * x), gate(lambda x: jnp.where(x > 0, 1, 0.1))
)
squared_relu_rule = rule(lambda x: relu(x) ** 2, gate(lambda x: 2 * relu(x)))
hard_sigmoid_rule = rule(
    lambda x: jnp.clip(x + 3, 0, 6) / 6,
    gate(lambda x: ((x >= -3) & (x < 3)) / 6.0),
)
shrink_rule = rule(
    lambda x: jnp.sign(x) * relu(abs(x) - 1),
    gate(lambda x: (abs(x) >= 1.0).astype(x.dtype)),
)
floor_rule = rule(lambda x: x * jnp.floor(x), gate(jnp.floor))


def prelu(x, slope):
    return jnp.where(x > 0, x, slope * x)


def prelu_bwd(residuals, dy):
    x, slope = residuals
    return dy * jnp.where(x >= 0, 1, slope), (dy * jnp.minimum(x, 0)).sum(0)


prelu_rule = rule(prelu, prelu_bwd)


def clip_bwd(residuals, dy):
    """At a bound, all to x."""
    x, low, high = residuals
    below, above = x < low, x > high
    zero = jnp.zeros_like(dy)
    return (
        jnp.where(below | above, zero, dy),
        jnp.where(below, dy, zero).sum(0),
        jnp.where(above, dy, zero).sum(0),
    )


clip_rule = rule(lambda x, low, high: jnp.minimum(jnp.maximum(x, low), high), clip_bwd)


def huber(x):
    a = abs(x)
    return jnp.where(a < 2, x**2 / 2, 2 * a - 2)


huber_rule = rule(huber, gate(lambda x: jnp.clip(x, -2, 2)))


def hinge(score, target):
    return relu(1 - target * score)


hinge_rule = rule(
    hinge,
    lambda r, dy: (jnp.where(r[1] * r[0] <= 1, -r[1] * dy, 0).astype(r[0].dtype), None),
)


def l1(prediction, target):
    return abs(prediction - target).mean()


def l1_bwd(residuals, dy):
    prediction, target = residuals
    d = dy * jnp.sign(prediction - target) / prediction.size
    return d, -d


l1_rule = rule(l1, l1_bwd)


def l1_args(rng):
    prediction = grid(rng, -2, 2, 3, 4)
    return prediction, prediction + grid(rng, 0, 1, 3, 4)


def interpolate(x, heights):
    """Piecewise linear between knots at 0, 1, 2 ..."""
    return jnp.interp(x, jnp.arange(heights.size, dtype=x.dtype), heights)


def interpolate_bwd(residuals, dy):
    """At a knot, the slope to its left."""
    x, heights = residuals
    right = jnp.clip(jnp.ceil(x).astype(int), 1, heights.size - 1)
    share = x - (right - 1)
    dheights = jnp.zeros_like(heights).at[right].add(share * dy)
    dheights = dheights.at[right - 1].add((1 - share) * dy)
    slope = jnp.take(heights, right) - jnp.take(heights, right - 1)
    return slope * dy, dheights


interpolate_rule = rule(interpolate, interpolate_bwd)

ENTRIES = [
    Entry(
        "relu_zero_at_0",
        "Derivative 0 at 0, where autodiff of the maximum says 1/2.",
        relu_zero_rule,
        lambda rng: (grid(rng, -1, 1, 3, 4),),
        relu,
    ),
    Entry(
        "relu_one_at_0",
        "Derivative 1 at 0.",
        relu_one_rule,
        lambda rng: (grid(rng, -1, 1, 3, 4, dtype="bfloat16"),),
        relu,
    ),
    Entry(
        "relu_third_at_0",
        "Derivative 0.3 at 0, in a layer of which half is at the kink.",
        lambda x, weight: relu_third_rule(x) @ weight,
        lambda rng: (grid(rng, -1, 1, 4, 6), normal(rng, 6, 3)),
        lambda x, weight: relu(x) @ weight,
    ),
    Entry(
        "relu_all_dead",
        "All outputs and derivatives are 0: there is no scale to compare with.",
        relu_zero_rule,
        lambda rng: (-uniform(rng, 1, 2, 5),),
        relu,
    ),
    Entry(
        "abs_zero_at_0",
        "Every element at the kink.",
        abs_zero_rule,
        lambda rng: (array([0.0] * 5),),
        jnp.abs,
    ),
    Entry(
        "abs_one_at_0",
        "Derivative 1 at 0.",
        abs_one_rule,
        lambda rng: (grid(rng, -1, 1, 8),),
    ),
    Entry(
        "leaky_relu_at_0",
        "The rule has 0.1 at 0, the function is written with 1.",
        leaky_rule,
        lambda rng: (grid(rng, -2, 2, 10, dtype="float16"),),
    ),
    Entry(
        "squared_relu",
        "A derivative that exists at 0 and has a kink there itself.",
        squared_relu_rule,
        lambda rng: (grid(rng, -2, 2, 10),),
        lambda x: jnp.where(x > 0, x**2, 0),
    ),
    Entry(
        "hard_sigmoid_at_bounds",
        "Two kinks, each with another side's derivative.",
        hard_sigmoid_rule,
        lambda rng: (grid(rng, -4, 4, 12),),
        jax.nn.hard_sigmoid,
    ),
    Entry(
        "soft_threshold_at_corner",
        "Both corners hit, and a third of the numbers between.",
        shrink_rule,
        lambda rng: (grid(rng, -3, 3, 12),),
        lambda x: jnp.where(x > 1, x - 1, jnp.where(x < -1, x + 1, 0)),
    ),
    Entry(
        "times_floor",
        "A step function inside, judged half way between its jumps.",
        floor_rule,
        lambda rng: (grid(rng, -3, 3, 8) + array(0.5),),
    ),
    Entry(
        "prelu_at_0",
        "Zeros count for neither the slope's cotangent nor, by choice, for the slope.",
        prelu_rule,
        lambda rng: (grid(rng, -1, 1, 5, 3), uniform(rng, 0.1, 0.4, 3)),
        prelu,
    ),
    Entry(
        "clip_at_its_bounds",
        "Bounds are arguments, and half the elements lie on one.",
        clip_rule,
        lambda rng: (grid(rng, -2, 2, 6, 4), array([-1.0] * 4), array([1.0] * 4)),
        jnp.clip,
    ),
    Entry(
        "huber_at_the_corner",
        "The derivative is continuous, the second jumps.",
        huber_rule,
        lambda rng: (grid(rng, -4, 4, 12),),
        huber,
    ),
    Entry(
        "hinge_at_the_corner",
        "Integer targets, scores at a margin of exactly 1.",
        hinge_rule,
        lambda rng: (grid(rng, -2, 2, 10), array(rng.choice([-1, 1], 10), "int32")),
        hinge,
    ),
    Entry(
        "l1_of_equals",
        "Prediction and target agree in about half of the elements.",
        l1_rule,
        l1_args,
        l1,
    ),
    Entry(
        "interpolation_at_knots",
        "A piecewise linear function of two arguments, at its knots.",
        interpolate_rule,
        lambda rng: (grid(rng, 1, 3, 8), normal(rng, 5)),
        interpolate,
    ),
]
