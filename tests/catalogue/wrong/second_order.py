"""First derivatives are right, and derivatives of these are not."""

import jax
import jax.numpy as jnp
import numpy as np

from ..entry import Entry, normals, rule

stop = jax.lax.stop_gradient


def sloped(primal, slope):
    return rule(primal, lambda r, dy: (dy * slope(*r),))


def detached_output(x):
    y = jnp.exp(x)
    return y, stop(y)


def softplus(x):
    return jnp.log1p(jnp.exp(x))


def mixed_by_the_input(x):
    slope, w = jax.lax.logistic(x), jax.lax.logistic(2 * x)
    return w * slope + (1 - w) * stop(slope)


def taylor_under_the_hood(x):
    series = 1 - x**2 / 2
    return series + stop(jnp.cos(x) - series)


sech_squared = rule(lambda x: 1 - jnp.tanh(x) ** 2, lambda r, dy: (-2 * dy * jnp.tanh(*r),))


@jax.custom_jvp
def reciprocal(x):
    return 1 / x


@reciprocal.defjvp
def reciprocal_jvp(x, tangent):
    return 1 / x[0], -tangent[0] / x[0]  # should be divided by the square


def product(x, y):
    return x * y


def one_factor_detached(r, dy):
    x, y = r
    return dy * y, dy * stop(x)


def signed_square(x):
    return x * abs(x)


def negative_side_detached(x):
    return jnp.where(x > 0, 2 * x, -2 * stop(x))


def cube_root(x):
    return jnp.cbrt(x)


def by_newton(x):
    """Iterates until it is exact: reverse mode cannot pass the loop."""

    def unfinished(state):
        n, y = state
        return (n < 100) & (abs(y**3 - x) > 16 * jnp.finfo(x.dtype).eps * x).any()

    def step(state):
        n, y = state
        return n + 1, y - (y - x / y**2) / 3

    return jax.lax.while_loop(unfinished, step, (0, jnp.maximum(x, 1)))[1]


def newton_fwd(x):
    y = by_newton(x)
    return y, y


def standardise(x):
    centred = x - x.mean(-1, keepdims=True)
    return centred * jax.lax.rsqrt(x.var(-1, keepdims=True) + 1e-3)


def statistics_detached(x):
    inverse = stop(jax.lax.rsqrt(x.var(-1, keepdims=True) + 1e-3))
    return standardise(x), (x, stop(x.mean(-1, keepdims=True)), inverse)


def standardise_bwd(r, dy):
    x, mean, inverse = r
    y = (x - mean) * inverse
    projected = dy - dy.mean(-1, keepdims=True) - y * (y * dy).mean(-1, keepdims=True)
    return (inverse * projected,)


def packed(x):
    """Keeps bits, which have no derivative."""
    bits = jax.lax.bitcast_convert_type(x, f"int{8 * x.dtype.itemsize}")
    return jnp.sin(x), bits


def unpacked(bits, dy):
    return (dy * jnp.cos(jax.lax.bitcast_convert_type(bits, dy.dtype)),)


def mean_cross_entropy(logits, labels):
    log_p = logits - jax.nn.logsumexp(logits, axis=-1, keepdims=True)
    return -jnp.take_along_axis(log_p, labels[:, None], axis=-1).mean()


def gradient_in_the_forward_pass(logits, labels):
    loss, gradient = jax.value_and_grad(mean_cross_entropy)(logits, labels)
    return loss, stop(gradient)


def matmul(a, b):
    return a @ b


def cotangent_detached(r, dy):
    a, b = r
    return dy @ b.T, a.T @ stop(dy)


ARRAY = normals((3, 4))

ENTRIES = [
    Entry(
        "tanh_slope_detached",
        "the slope is wrapped in stop_gradient",
        sloped(jnp.tanh, lambda x: stop(1 - jnp.tanh(x) ** 2)),
        ARRAY,
        jnp.tanh,
    ),
    Entry(
        "exp_residual_detached",
        "the forward rule keeps its output through stop_gradient",
        rule(jnp.exp, lambda y, dy: (dy * y,), detached_output),
        ARRAY,
        jnp.exp,
    ),
    Entry(
        "sin_slope_extrapolated",
        "twice the detached slope minus the slope: its derivative has the other sign",
        sloped(jnp.sin, lambda x: 2 * stop(jnp.cos(x)) - jnp.cos(x)),
        ARRAY,
    ),
    Entry(
        "softplus_slope_partly_detached",
        "a convex combination of the slope and the detached slope, weighted by the input",
        sloped(softplus, mixed_by_the_input),
        ARRAY,
        softplus,
    ),
    Entry(
        "sin_slope_with_another_derivative",
        "the slope's value is put onto a function with another derivative",
        sloped(jnp.sin, taylor_under_the_hood),
        ARRAY,
    ),
    Entry(
        "tanh_slope_has_a_wrong_rule",
        "the slope is a function with a custom_vjp of its own, which is wrong",
        sloped(jnp.tanh, sech_squared),
        ARRAY,
        jnp.tanh,
    ),
    Entry(
        "log_slope_has_a_wrong_jvp",
        "the slope is a function with a custom_jvp that is wrong",
        sloped(jnp.log, reciprocal),
        lambda rng: (rng.uniform(1.5, 3, (3, 4)).astype(np.float32),),
        jnp.log,
    ),
    Entry(
        "product_one_factor_detached",
        "of the two mixed derivatives one is 0: the Hessian is not symmetric",
        rule(product, one_factor_detached),
        normals((5,), (5,)),
        product,
    ),
    Entry(
        "matmul_cotangent_detached",
        "one operand's cotangent does not depend on the output's, for another pullback",
        rule(matmul, cotangent_detached),
        normals((2, 3), (3, 4)),
        matmul,
    ),
    Entry(
        "signed_square_negative_side_detached",
        "the second derivative is 0 for negative numbers only",
        sloped(signed_square, negative_side_detached),
        ARRAY,
        signed_square,
    ),
    Entry(
        "cube_root_by_a_loop",
        "the forward rule runs a while loop, through which reverse mode cannot go",
        rule(cube_root, lambda y, dy: (dy / (3 * y**2),), newton_fwd),
        lambda rng: (rng.uniform(0.5, 8, 4),),
        cube_root,
    ),
    Entry(
        "standardise_statistics_detached",
        "mean and deviation are kept through stop_gradient",
        rule(standardise, standardise_bwd, statistics_detached),
        ARRAY,
        standardise,
    ),
    Entry(
        "sin_residual_packed_as_bits",
        "the input is kept as an integer",
        rule(jnp.sin, unpacked, packed),
        ARRAY,
    ),
    Entry(
        "cross_entropy_gradient_made_forwards",
        "the gradient is made in the forward pass, detached, and scaled backward",
        rule(
            mean_cross_entropy, lambda g, dy: (dy * g, None), gradient_in_the_forward_pass
        ),
        lambda rng: (rng.standard_normal((3, 4), np.float32), rng.integers(0, 4, 3)),
        mean_cross_entropy,
    ),
]
