r"""Rows of a table: the embedding of tokens, and of anything else that is counted.

**Forward.** For a table $E$ of shape $(V, d)$ and integers $t_n$,

$$y_n = E_{t_n}.$$

**Backward.** The map is linear in $E$, and reads row $t_n$ for $y_n$:
$\dot y_n = \dot E_{t_n}$. Transposed, what was read from a row is added to it,

$$\bar E_v = \sum_{n:\,t_n = v} \bar y_n,$$

in at least float32, rounded once: in bfloat16 a token that is read 300 times would stop
counting at 256. Rows that no one read have cotangent 0.

**Residuals.** The integers alone; of the table its shape and dtype.

**Hard points.** An integer outside $[0, V)$, negative ones included, gives a row of NaN,
the only honest answer once traced, and its cotangent goes to no row.

**Speed.** A scatter that adds, in every shape and on every platform: what autodiff has,
and in float32 as fast. The alternatives, a product with one-hot rows and sums over segments
of sorted integers, took longer on two cores with JAX 0.10 and 0.12, by these factors:

| integers | table | one-hot | segments |
|---|---|---|---|
| 100 000 | (50000, 128) | | 3 to 8 |
| 2048 | (8192, 256) | 400 to 700 | 2 to 6 |
| 2048 | (128, 128) | 8 to 20 | 3 to 15 |
| 8192 | (2, 256) | 1.7 to 3 | 6 to 14 |

In bfloat16, sums in float32 take up to 5 times as long as autodiff's sums in bfloat16,
which are wrong.
"""

import jax
import jax.numpy as jnp
import numpy as np

from funcnn.foundation._checks import as_array, float_arrays
from funcnn.foundation._cotangents import Like, cast_like
from funcnn.foundation._custom_vjp import custom_vjp
from funcnn.foundation._dtypes import upcast
from funcnn.foundation._mesh import by_device
from funcnn.foundation._products import empty_sum
from funcnn.kernels._labels import in_range


@custom_vjp
def embed(table: jax.Array, ids: jax.Array) -> jax.Array:
    """Return the rows of `table` that `ids` name.

    Args:
        table: shape `(V, d)`, V > 0.
        ids: integers of shape `(...)`, each at least 0 and less than V. Others give NaN
            and add to no row's cotangent; they do not count from the end.

    Returns:
        Shape `(..., d)` and dtype of `table`.

    Raises:
        TypeError: if `table` is not a floating-point array, or `ids` not of integers.
        ValueError: if `table` does not have two axes, or has no rows.
    """
    return embed_fwd(table, ids)[0]


def embed_fwd(table, ids):
    (table,) = float_arrays("embed", table=table)
    ids = as_array("embed", "ids", ids)
    if not jnp.issubdtype(ids.dtype, jnp.integer):
        raise TypeError(
            f"embed needs ids of an integer dtype; got {ids.dtype} of shape {ids.shape}."
        )
    if table.ndim != 2 or not table.shape[0]:
        raise ValueError(
            f"embed needs table of shape (V, d) with V > 0; got {table.shape}."
        )

    def local(ids, table):
        return table.at[wide(ids, table)].get(
            mode="fill", fill_value=jnp.nan, wrap_negative_indices=False
        )

    return by_device(local, (ids, table))(ids, table), (ids, Like.of(table))


def embed_bwd(residuals, dy):
    ids, table = residuals

    def local(ids, dy):
        total = empty_sum(table.shape, dy)
        return None, total.at[wide(ids, table)].add(
            upcast(dy), mode="drop", wrap_negative_indices=False
        )

    _, dtable = by_device(local, (ids, dy), 2, totals=True)(ids, dy)
    return cast_like((dtable, None), residuals[::-1])


embed.defvjp(embed_fwd, embed_bwd)


def wide(ids, table):
    """The same integers, of a dtype that counts to the table's rows."""
    return in_range(ids, table.shape[0])[0][..., 0]


def embed_reference(table, ids):
    """The definition, left to `jax.grad`."""
    return table[ids]


def embed_cases(rng):
    """Arguments on which every claim is tested."""
    normal, integers = rng.standard_normal, rng.integers
    return {
        "sequence": (normal((5, 3)), integers(0, 5, (2, 4))),
        "one of each": (normal((4, 3)), rng.permutation(4)),
        "the same again": (normal((4, 3)), 2 + 0 * integers(0, 4, 7)),
        "first and last": (normal((6, 2)), np.array([0, 5, 5, 0, 0])),
        "one id": (normal((4, 3)), np.array(3)),
        "one row": (normal((1, 3)), 0 * integers(0, 4, (2, 2))),
        "one feature": (normal((5, 1)), integers(0, 5, 4)),
        "bytes": (normal((5, 3)), integers(0, 5, 4).astype("uint8")),
        "large": (1e4 * normal((5, 3)), integers(0, 5, 4)),
        "no ids": (normal((4, 3)), integers(0, 4, (0, 2))),
    }
