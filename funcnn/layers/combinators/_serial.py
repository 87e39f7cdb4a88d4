"""Comes in: layers. Goes out: one that calls them in turn, and may add its input."""

import jax

from funcnn.foundation._checks import as_array
from funcnn.foundation._dtypes import promote
from funcnn.layers.protocol._calls import calling
from funcnn.layers.protocol._layer import Layer, constructor
from funcnn.layers.protocol._params import check_params, shown
from funcnn.layers.protocol._shapes import describe


@constructor
def Serial(*layers: Layer, **named: Layer) -> Layer:
    """Feed each layer's output to the next; of no layers, the identity.

    Params: the layers' own, in a tuple in the order of `layers`, or in a dict by the
    names given. Layer `i` has the key `jax.random.fold_in(key, i)`, in `init` and, where
    there is one, in `apply`.

    Args:
        *layers: layers without names.
        **named: layers with names, in order; all or none have one.

    Raises:
        TypeError: if an argument is not a layer, or only some have names; in `apply`, if
            params are not a tuple, or not a dict.
        ValueError: in `apply`, if params are not one for each layer.
    """
    return in_turn(layers, named, residual=False)


@constructor
def Residual(*layers: Layer, **named: Layer) -> Layer:
    """`x + Serial(*layers)(x)`.

    Params: those of the `Serial`.

    Args:
        *layers: layers whose last output has the input's shape.
        **named: the same with names, as in `Serial`.

    Raises:
        TypeError: as `Serial`.
        ValueError: as `Serial` and if the two shapes differ.
    """
    return in_turn(layers, named, residual=True)


def in_turn(layers, named, residual):
    """What `Serial` gives, or `Residual`: one loop, so that no call goes through two."""
    sequence = checked(layers, named)
    steps = [(i, *item) for i, item in enumerate(sequence.items())]

    def init(key, shape):
        x = given = describe("Serial", shape)
        params = {}
        for i, name, layer in steps:
            try:
                params[name] = layer.init(jax.random.fold_in(key, i), x)
                x = jax.eval_shape(layer.apply, params[name], x)
            except Exception as error:
                error.add_note(f"In layer {name!r} of Serial.")
                raise
        if residual:
            jax.eval_shape(added, given, x)
        return params if named else tuple(params.values())

    def apply(params, x, *, key=None):
        x = given = as_array("Residual", "x", x) if residual else x
        if named:
            check_params("Serial", params, *sequence)
        else:
            check_tuple(params, len(steps))
        for i, name, layer in steps:
            layer_key = None if key is None else jax.random.fold_in(key, i)
            try:
                with calling(layer, name) as run:
                    x = run(params[name], x, key=layer_key)
            except Exception as error:
                error.add_note(f"In layer {name!r} of Serial.")
                raise
        return added(given, x) if residual else x

    return Layer(init, apply)


def checked(layers, named) -> dict:
    """The layers by name, or by position if they have none.

    Raises:
        TypeError: if only some have names, or one is no layer.
    """
    if layers and named:
        raise TypeError("Serial needs all of its layers named, or none; got both.")
    sequence = dict(named or enumerate(layers))
    for name, layer in sequence.items():
        if not isinstance(layer, Layer):
            raise TypeError(f"Serial needs layers; got {hint(layer)} as layer {name!r}.")
    return sequence


def added(x, y):
    """The input of a `Residual` and its layers' output, in one.

    Raises:
        TypeError: if one is not an array.
        ValueError: if their shapes differ.
    """
    x = as_array("Residual", "x", x)
    y = as_array("Residual", "its layers' output", y)
    if x.shape != y.shape:
        raise ValueError(
            "Residual needs layers that keep the shape of x; "
            f"got {y.shape} for x of shape {x.shape}."
        )
    dtype = promote(x, y)
    return x.astype(dtype) + y.astype(dtype)


def check_tuple(params, length):
    """Check that params are one for each of `length` unnamed layers.

    Raises:
        TypeError: if they are not a tuple.
        ValueError: if it has another length.
    """
    if not isinstance(params, tuple | list) or hasattr(params, "_fields"):
        raise TypeError(
            f"Serial needs params in a tuple of {length}, one for each layer; "
            f"got {shown(params)}."
        )
    if len(params) != length:
        raise ValueError(
            f"Serial needs params in a tuple of {length}, one for each layer; "
            f"got {len(params)}."
        )


def hint(argument):
    """What was given for a layer, and what may have been meant."""
    name = getattr(argument, "__name__", None)
    if callable(argument) and name:
        meant = f"Lambda({name})" if name[0].islower() else f"{name}()"
        return f"the function {name} (did you mean {meant}?)"
    if isinstance(argument, tuple | list):
        return f"a {type(argument).__name__} (did you mean Serial(*layers)?)"
    return repr(argument)
