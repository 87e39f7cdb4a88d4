"""A learning rate that the examples share: it warms up, and then falls."""

import jax.numpy as jnp


def warm_then_falling(peak: float, steps: int, least: float = 0.0):
    """Return `rate(step)`: 50 steps up to `peak`, and half a cosine down to `least` of it.

    Any function of the step will do; `optim.warmup_cosine_schedule` makes others like this.
    """

    def rate(step):
        warm = jnp.minimum(1, (step + 1) / 50)
        return (
            peak * warm * (least + (1 - least) * (1 + jnp.cos(jnp.pi * step / steps)) / 2)
        )

    return rate
