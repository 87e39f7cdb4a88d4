"""What a loss returned comes in; its value, metrics and count go out, checked."""

import jax
import jax.numpy as jnp

from funcnn.losses import Average


def split(result):
    """Take apart and check what a loss returned: value, metrics, and what it counts.

    The count is None of a loss that is a number.
    """
    if isinstance(result, Average) or not isinstance(result, tuple):
        result = result, {}
    if len(result) != 2:
        raise TypeError(
            "make_step needs a loss that returns a scalar or (scalar, metrics); "
            f"got a tuple of {len(result)}."
        )
    value, metrics = result
    if not isinstance(metrics, dict):
        raise TypeError(
            "make_step needs the loss's metrics to be a dict; "
            f"got {type(metrics).__name__}."
        )
    for name in ("loss", "grad_norm"):
        if name in metrics:
            raise ValueError(
                f"make_step records {name!r} itself; give the loss's metric another name."
            )
    count: jax.Array | None = None
    if isinstance(value, Average):
        count = jax.lax.stop_gradient(jnp.asarray(value.count))
        value = value.value
        if count.shape:
            raise ValueError(
                f"make_step needs an Average of scalars; got a count of {count.shape}."
            )
    if not isinstance(value, jax.Array | float):
        raise TypeError(
            f"make_step needs the loss to be a scalar array; got {type(value).__name__}."
        )
    value = jnp.asarray(value)
    if value.shape:
        raise ValueError(
            f"make_step needs a scalar loss; got shape {value.shape}. Take its mean."
        )
    if not jnp.issubdtype(value.dtype, jnp.floating):
        raise TypeError(f"make_step needs a floating-point loss; got {value.dtype}.")
    return value, metrics, count


def divided(metrics):
    """Metrics with the mean in place of each Average."""
    return {k: m.value if isinstance(m, Average) else m for k, m in metrics.items()}
