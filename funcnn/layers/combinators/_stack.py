"""A layer many times over, compiled once."""

from functools import partial

import jax
import jax.numpy as jnp

from funcnn.foundation._checks import boolean, integer
from funcnn.foundation._dtypes import promote
from funcnn.layers.combinators._remat import Remat, RematInLoop
from funcnn.layers.protocol._calls import calling
from funcnn.layers.protocol._layer import Layer, constructor
from funcnn.layers.protocol._shapes import describe


@constructor
def Stack(layer: Layer, depth: int, *, remat: bool = False, scan: bool = True) -> Layer:
    """`depth` layers in a row, each with params of its own, that keep the shape of `x`.

    They are one loop: the layer is traced and compiled once, whatever the depth.

        blocks = layers.Stack(layers.Residual(layers.RMSNorm(), layers.Dense(16)), 12)
        x = jnp.ones((4, 16))
        y = blocks.apply(blocks.init(key, x), x)

    Params: the layer's, each array with a new first axis of length `depth`. Layer `i` has
    the key `jax.random.fold_in(key, i)`, in `init` and, where there is one, in `apply`.

    `apply(params, x, *, key=None, cache=None, **options)`: the options, such as a mask, go
    to every layer as they are. If `x` is a tuple, only the first of it passes through the
    layers; each of them is given the others, `(x, *others)`, such as a memory to attend to.
    With a cache, which has the same new axis, it returns `(y, cache)`; as with
    `MultiHeadAttention`, an integer starts one.

    Args:
        layer: gives what has the shape of its input `x`, or of the first of a tuple.
        depth: how many there are, at least 1.
        remat: whether the backward pass computes what is inside a layer again, rather than
            keep it: memory for every layer's input and the insides of one, for up to a
            third more time.
        scan: whether they are a loop. Without, the program is `depth` times as long; it
            takes that much longer to compile, and on a CPU runs no faster, and in more
            memory.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if `depth` is less than 1; in `init` and `apply`, if the layer does not
            keep the shape.
    """
    if not isinstance(layer, Layer):
        raise TypeError(f"Stack needs a layer; got {layer!r}.")
    depth = integer("Stack", "depth", depth, minimum=1)
    boolean("Stack", "remat", remat)
    boolean("Stack", "scan", scan)
    # in a loop nothing can be merged with what was computed before
    each = (RematInLoop if scan else Remat)(layer) if remat else layer

    def init(key, shape):
        x = describe("Stack", shape)
        keys = jax.vmap(partial(jax.random.fold_in, key))(jnp.arange(depth))
        params = jax.vmap(lambda key: layer.init(key, x))(keys)
        jax.eval_shape(apply, params, x)
        return params

    def apply(params, x, *, key=None, cache=None, **options):
        check_depth(params, depth)
        several = isinstance(x, tuple)
        x, *others = x if several else (x,)
        fresh = cache is None or isinstance(cache, int)

        def step(x, inputs, at=None):
            i, params, state = inputs
            given = (
                options if cache is None else options | {"cache": cache if fresh else state}
            )
            layer_key = None if key is None else jax.random.fold_in(key, i)
            call = (each, "*", i, depth) if at is None else (each, at)
            with calling(*call) as run:
                y = run(params, (x, *others) if several else x, key=layer_key, **given)
            y, state = (y, None) if cache is None else y
            return same(x, y), state

        rows = jnp.arange(depth), params, None if fresh else cache
        x = wide(x, params)
        y, state = jax.lax.scan(step, x, rows) if scan else unrolled(step, x, rows, depth)
        return y if cache is None else (y, state)

    return Layer(init, apply)


def unrolled(step, x, rows, depth):
    """What `jax.lax.scan` gives, without a loop."""
    # split, whose transpose is one concatenation, as that of indexing is a sum of arrays
    parts = jax.tree.map(lambda a: [p[0] for p in jax.lax.split(a, (1,) * depth)], rows)
    states = []
    each = jax.tree.transpose(
        jax.tree.structure(rows), jax.tree.structure([0] * depth), parts
    )
    for at, row in enumerate(each):
        x, state = step(x, row, at)
        states.append(state)
    return x, jax.tree.map(lambda *a: jnp.stack(a), *states)


def wide(x, params):
    """`x` with the dtype that layers with such params will give it."""
    floats = [a for a in jax.tree.leaves(params) if jnp.issubdtype(a.dtype, jnp.floating)]

    def leaf(a):
        a = jnp.asarray(a)
        if not jnp.issubdtype(a.dtype, jnp.floating):
            return a
        return a.astype(promote(a, *floats))

    return jax.tree.map(leaf, x)


def same(x, y):
    """`y` with the dtypes of `x`.

    Raises:
        ValueError: if it is not of the same shape.
    """
    shapes = [jax.tree.map(jnp.shape, tree) for tree in (x, y)]
    if shapes[0] != shapes[1]:
        raise ValueError(
            f"Stack needs a layer that keeps the shape of x; got {shapes[1]} for x of "
            f"shape {shapes[0]}."
        )
    return jax.tree.map(lambda a, b: b.astype(a.dtype), x, y)


def check_depth(params, depth):
    """Check that every array of `params` has a row for each layer.

    Raises:
        ValueError: if one has not.
    """
    for path, a in jax.tree_util.tree_leaves_with_path(params):
        if jnp.shape(a)[:1] != (depth,):
            raise ValueError(
                f"Stack needs params with a first axis of length {depth}; got shape "
                f"{jnp.shape(a)} at {jax.tree_util.keystr(path)}."
            )
