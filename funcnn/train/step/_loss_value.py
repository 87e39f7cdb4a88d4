"""What a loss returned comes in; its value and its metrics go out, checked."""

import jax
import jax.numpy as jnp


def split(result):
    """Take apart and check what a loss returned."""
    if not isinstance(result, tuple):
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
    return value, metrics
