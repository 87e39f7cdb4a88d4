"""A layer whose insides the backward pass computes again."""

from collections.abc import Callable
from functools import partial

import jax

from funcnn.layers.protocol._calls import watched
from funcnn.layers.protocol._layer import Layer, wrapper


@wrapper
def Remat(layer: Layer, *, policy: Callable | None = None) -> Layer:
    """The same layer, which keeps its input for the backward pass, and nothing inside it.

    The backward pass computes the layer's forward pass again: memory for the time of that,
    up to a third more of a training step. It pays around several layers, such as a block;
    around one whose rule keeps no more than its input, there is nothing to save. (On a CPU,
    JAX 0.10 computes it again too early for that, but for layers in a `Stack`, which is a
    loop; later ones do not. `train.summary` tells what a model takes.)

        block = layers.Residual(layers.LayerNorm(), layers.Dense(64), layers.Gelu())
        model = layers.Serial(layers.Remat(block), layers.Remat(block), layers.Dense(10))

    Params, keys and any options of `apply` are the layer's own. A `Stack` has this as an
    argument.

    Args:
        layer: any.
        policy: which of the inside to keep after all, from `jax.checkpoint_policies`; none
            by default.

    Raises:
        TypeError: if `layer` is not a layer.
    """
    if not isinstance(layer, Layer):
        raise TypeError(f"Remat needs a layer; got {layer!r}.")
    return computed_again(layer, policy, prevent_cse=True)


@partial(wrapper, name="Remat")
def RematInLoop(layer: Layer) -> Layer:
    """`Remat` where nothing has to prevent that the passes are merged into one."""
    return computed_again(layer, None, prevent_cse=False)


def computed_again(layer, policy, prevent_cse):
    """The layer, with an `apply` that keeps what the policy says for the backward pass."""

    def apply(params, x, *, key=None, **options):
        if watched():  # in a checkpoint values come late, and in what order is not said
            return layer.apply(params, x, key=key, **options)

        def inside(params, x):
            return layer.apply(params, x, key=key, **options)

        return jax.checkpoint(inside, policy=policy, prevent_cse=prevent_cse)(params, x)

    return Layer(layer.init, apply)
