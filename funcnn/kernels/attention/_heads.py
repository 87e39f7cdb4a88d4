"""Arrays as a user has them, `(B, T, H, D)`, with their axes as blocks want them."""

import jax.numpy as jnp

from funcnn.foundation._dtypes import accumulator, promote


def by_head(q, k, v, mask, bias):
    """All arrays with their axes as blocks want them, in at least float32."""
    dtype = accumulator(promote(*(a for a in (q, k, v, bias) if a is not None)))
    shape = q.shape[0], q.shape[2], q.shape[1], k.shape[1]
    b = None if bias is None else bias.astype(dtype)
    return [
        queries_by_head(q.astype(dtype), k.shape[2]),
        *(jnp.swapaxes(a.astype(dtype), 1, 2) for a in (k, v)),
        *(
            scores_by_head(n, a, shape, k.shape[2])
            for n, a in (("mask", mask), ("bias", b))
        ),
    ]


def queries_by_head(a, heads):
    """`(B, T, H, D)` to `(B, K, G, T, D)`."""
    b, t, h, d = a.shape
    return jnp.moveaxis(a.reshape(b, t, heads, h // heads, d), 1, 3)


def scores_by_head(name, a, shape, heads):
    """What broadcasts to `(B, H, T, S)`, with five axes that do to `(B, K, G, T, S)`."""
    if a is None:
        return None
    fits = len(a.shape) <= 4 and all(
        n in (1, m) for n, m in zip(a.shape[::-1], shape[::-1], strict=False)
    )
    if not fits:
        raise ValueError(
            f"attention needs {name} that broadcasts to (B, H, T, S) = {shape}; "
            f"got {a.shape}."
        )
    b, h, t, s = (1,) * (4 - a.ndim) + a.shape
    return a.reshape(b, *((1, 1) if h == 1 else (heads, h // heads)), t, s)
