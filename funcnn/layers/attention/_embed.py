"""Embeddings of tokens and of positions."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.nn import initializers

from funcnn import ops
from funcnn.foundation._checks import as_array, float_arrays, integer
from funcnn.foundation._dtypes import promote, upcast
from funcnn.kernels._angles import cos_sin, geometric
from funcnn.layers.attention._cache import positions
from funcnn.layers.protocol._layer import Layer, constructor
from funcnn.layers.protocol._params import check_params, drawn
from funcnn.layers.protocol._shapes import SHAPE, describe, is_shape, one_input, param_dtype

# Normal, with a variance of one over the number of features.
ROWS_OF_LENGTH_ONE = initializers.variance_scaling(
    1.0, "fan_in", "normal", in_axis=-1, out_axis=0
)
KINDS = ("learned", "sinusoidal")


@constructor
def Embed(
    vocabulary: int, features: int, *, table_init: Callable = ROWS_OF_LENGTH_ONE
) -> Layer:
    """A vector for each integer, `(...)` to `(..., features)`.

    Params: `table` of shape `(vocabulary, features)`, in float32. An integer outside
    `[0, vocabulary)` gives NaN.

    The table starts normal with deviation `1 / sqrt(features)`: its rows have a length of
    about 1 whatever their width. So if the table is the head's weight too, as in
    `logits = ops.dense(x, params["table"].T)`, logits of a normalised `x` start with a
    deviation of about 1.

    `init` in a `Serial` needs to know that the input is of integers:
    `jax.ShapeDtypeStruct((1, 128), "int32")`, as a tuple stands for float32.

    Args:
        vocabulary: how many integers there are, from 0 on.
        features: length of a vector.
        table_init: `table_init(key, shape, dtype)`, as in `jax.nn.initializers`.

    Raises:
        TypeError: if an argument is not an integer; in `init`, if the input is not of
            integers.
        ValueError: if an argument is not positive.
    """
    vocabulary = integer("Embed", "vocabulary", vocabulary, minimum=1)
    features = integer("Embed", "features", features, minimum=1)

    def init(key, shape):
        of_integers("Embed", shape)
        return {
            "table": drawn(table_init, key, (vocabulary, features), jnp.dtype("float32"))
        }

    def apply(params, x, *, key=None):
        del key  # Embed is deterministic
        check_params("Embed", params, "table")
        return ops.embed(params["table"], x)

    return Layer(init, apply)


@constructor
def PositionalEmbedding(
    length: int,
    features: int,
    kind: str = "learned",
    *,
    table_init: Callable = ROWS_OF_LENGTH_ONE,
) -> Layer:
    """Add a vector for each position to `x` of shape `(..., T, features)`.

    "learned": a row of a table. Params: `table` of shape `(length, features)`, which
    starts as that of `Embed` does. The first T rows are added, T at most `length`.

    "sinusoidal": sines and cosines of the position in turns, with wavelengths from 2 pi
    to nearly 20000 pi (Vaswani et al., 2017, arXiv:1706.03762); `features` is even. No
    params, and any T. Their mean square is 1/2, so that paper multiplies the vectors of
    `Embed` by `sqrt(features)`.

    `apply(params, x, *, key=None, start=None)`: `start`, an integer array of shape `()`, is
    the first position, 0 by default. Learned positions from `length` on are then NaN.

    Args:
        length: how many positions there are, if they are learned.
        features: length of the last axis.
        kind: "learned" or "sinusoidal".
        table_init: `table_init(key, shape, dtype)`, as in `jax.nn.initializers`.

    Raises:
        TypeError: if `length` or `features` is not an integer.
        ValueError: if one is not positive, `features` is odd and sinusoidal, or there is no
            such kind; in `init` and `apply`, if `x` is longer or of another width.
    """
    name = "PositionalEmbedding"
    length = integer(name, "length", length, minimum=1)
    features = integer(name, "features", features, minimum=1)
    if kind not in KINDS:
        raise ValueError(f"{name} needs a kind of {' or '.join(KINDS)}; got {kind!r}.")
    if kind == "sinusoidal" and features % 2:
        raise ValueError(f"{name} needs even features if sinusoidal; got {features}.")
    learned = kind == "learned"

    def init(key, shape):
        x = one_input(name, shape, "(..., T, features)")
        check_shape(x)
        if not learned:
            return {}
        return {"table": drawn(table_init, key, (length, features), param_dtype(x))}

    def apply(params, x, *, key=None, start=None):
        del key  # PositionalEmbedding is deterministic
        check_params(name, params, *(["table"] if learned else []))
        (x,) = float_arrays(name, x=x)
        check_shape(x)
        first = jnp.int32(0) if start is None else as_array(name, "start", start)
        at = positions(first, x.shape[-2])
        if not learned:
            rows = sinusoids(x, at)
        elif start is None:
            rows = params["table"][: x.shape[-2]]
        else:
            rows = ops.embed(params["table"], at)
        # a row's cotangent is a sum over the batch: let that be in float32
        wide = promote(upcast(x), rows)
        return (x.astype(wide) + rows.astype(wide)).astype(x.dtype)

    def check_shape(x):
        if len(x.shape) < 2 or x.shape[-1] != features:
            raise ValueError(
                f"{name} needs x of shape (..., T, {features}); got {x.shape}."
            )
        if learned and x.shape[-2] > length:
            raise ValueError(
                f"{name} needs at most {length} positions, its length; got {x.shape[-2]} "
                f"in x of shape {x.shape}."
            )

    return Layer(init, apply)


def sinusoids(x, at):
    """Sine and cosine of each frequency in turn, `at` each position of `x: (..., T, d)`."""
    frequencies = geometric(x.shape[-1] // 2, 1e4)
    cos, sin = cos_sin(at, frequencies, upcast(x).dtype, x.shape)
    return jnp.stack([sin, cos], -1).reshape(x.shape[-2:])


def of_integers(layer, shape):
    """Describe an input of which `shape` does not say that it is of anything but integers.

    Raises:
        TypeError: if it is, or is no shape.
    """
    one = describe(layer, shape)
    if not isinstance(one, jax.ShapeDtypeStruct):
        raise TypeError(f"{layer} needs the shape of one array, {SHAPE}; got {shape!r}.")
    if not is_shape(shape) and not jnp.issubdtype(one.dtype, jnp.integer):
        raise TypeError(
            f"{layer} needs x of an integer dtype; got {one.dtype} of shape {one.shape}. "
            "In init, a tuple of ints stands for float32: give "
            f"jax.ShapeDtypeStruct({one.shape}, 'int32')."
        )
    return one
