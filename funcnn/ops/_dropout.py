r"""Dropout (Srivastava et al., 2014).

**Forward.** With a mask $m$ of independent elements, 1 with probability $1 - r$ and 0
otherwise, drawn from the key,

$$y = \frac{m \odot x}{1 - r},$$

whose mean over keys is $x$.

**Backward.** For a given key the map is linear and diagonal, its own transpose:

$$\bar x = \frac{m \odot \bar y}{1 - r}.$$

**Residuals.** The key and the rate: the mask is drawn again rather than kept, which would
hold as many bytes as $x$ has elements between forward and backward.

**Limits.** At $r = 0$ this is the identity; at $r = 1$ everything is dropped, values and
cotangents are 0. The rate has no gradient: the mask jumps with it.
"""

import jax
import jax.numpy as jnp

from funcnn.foundation._checks import float_arrays, number
from funcnn.foundation._cotangents import Like, cast_like
from funcnn.foundation._custom_vjp import custom_vjp
from funcnn.foundation._dtypes import upcast


class checked(custom_vjp):  # noqa: N801
    """A rule whose arguments are looked at before it is called.

    The rate is an argument like others, so that it may be traced; within the rule it is not
    known, be it traced or not.
    """

    @property
    def __call__(self):
        rule = super().__call__

        def call(key, x, rate):
            (x,) = float_arrays("dropout", x=x)
            check_key(key)
            if not isinstance(rate, jax.core.Tracer):
                rate = number("dropout", "rate", rate, low=0.0, high=1.0)
                if rate in (0, 1):
                    return x if rate == 0 else jnp.zeros_like(x)
            elif rate.shape or not jnp.issubdtype(rate.dtype, jnp.floating):
                raise ValueError(
                    "dropout needs a rate that is a floating-point scalar; "
                    f"got {rate.dtype} of shape {rate.shape}."
                )
            return rule(key, x, jnp.asarray(rate, float))

        return call


@checked
def dropout(key: jax.Array, x: jax.Array, rate: float | jax.Array) -> jax.Array:
    """Drop elements at random and scale the others up.

    Args:
        key: a key of `jax.random`.
        x: any shape.
        rate: the share to drop, a number in [0, 1]. It may be traced, as a schedule's is;
            then its range is not checked, and its gradient is 0.

    Returns:
        The shape and dtype of `x`.

    Raises:
        TypeError: if `key` is not a key, `x` not a floating-point array or `rate` not a
            number.
        ValueError: if `rate` is outside [0, 1] or no scalar, or there are several keys.
    """
    return dropout_fwd(key, x, rate)[0]


def dropout_fwd(key, x, rate):
    return masked(key, x, rate), (key, Like.of(x), rate)


def dropout_bwd(residuals, dy):
    key, x, rate = residuals
    return None, *cast_like((masked(key, dy, rate),), (x,)), jnp.zeros_like(rate)


dropout.defvjp(dropout_fwd, dropout_bwd)


def masked(key, x, rate):
    kept = jax.random.bernoulli(key, 1 - rate, x.shape)
    xf, share = upcast(x), 1 - rate
    share = jnp.where(share == 0, 1, share)  # nothing is kept, and 0 / 0 would be
    scaled = xf / share.astype(xf.dtype)  # which is not rounded to 16 bits
    return jnp.where(kept, scaled, 0).astype(x.dtype)


def check_key(key):
    kind, shape = getattr(key, "dtype", None), getattr(key, "shape", ())
    typed = jax.dtypes.issubdtype(kind, jax.dtypes.prng_key)
    if not typed and kind != jnp.uint32:
        raise TypeError(f"dropout needs a key of jax.random; got {key!r}.")
    if len(shape) != (0 if typed else 1):
        raise ValueError(f"dropout needs one key of jax.random; got shape {shape} of them.")


def dropout_reference(key, x, rate):
    """The definition, left to `jax.grad`."""
    kept = jax.random.bernoulli(key, 1 - rate, x.shape).astype(x.dtype)
    return kept * x / (1 - rate) if rate < 1 else 0 * x


def dropout_cases(rng):
    """Arguments on which every claim is tested."""
    key, x = jax.random.key(rng.integers(1 << 31)), rng.standard_normal((3, 4))
    return {
        "a half": (key, x, 0.5),
        "a tenth": (key, x, 0.1),
        "raw key": (jax.random.PRNGKey(rng.integers(1 << 31)), x, 0.5),
        "empty": (key, x[:0], 0.5),
    }
