"""A loss and its arguments come in; a sentence on its first NaN or inf goes out."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import chex
import jax
import jax.numpy as jnp
from jax.tree_util import keystr, tree_leaves_with_path

from funcnn.layers.protocol._calls import watching
from funcnn.layers.protocol._places import Places
from funcnn.train.step._cast_inputs import Casts
from funcnn.train.step._loss_value import split


def first_nonfinite(
    loss: Callable,
    params: chex.ArrayTree,
    batch: Any,
    key: chex.PRNGKey,
    *,
    compute_dtype: Any = None,
    keep: str | Sequence[str] = (),
) -> str | None:
    """Say where the first number that is not finite comes from, in a sentence.

    Params and batch are looked at, then what each layer is given and gives, then the loss,
    then, going backward, the gradient of what each layer gives and is given, and last the
    gradients. Of layers in layers, that is the innermost.

        where = train.first_nonfinite(loss, params, (images, labels), key)
        assert where is None
        broken = layers.Serial(layers.Flatten(), layers.Lambda(lambda x: x / 0))
        where = train.first_nonfinite(
            lambda params, x, key: broken.apply(params, x).mean(), ({}, {}), images, key
        )
        assert where == (
            "layer '1' gave 200704 of 200704 values that are not finite, of an input and "
            "params that are finite."
        )

    The loss is computed as it is, an operation at a time and not jitted, which takes some
    seconds, and memory for all of it. Layers are called by the paths of their params; one
    that has none, and that a function of one's own calls, by its kind.

    Args:
        loss: as in `make_step`.
        params: with their values, such as `state.params` before the step.
        batch: what the loss was given.
        key: likewise, `jax.random.fold_in(state.key, state.step)` in a step.
        compute_dtype: as in `make_step`.
        keep: likewise.

    Returns:
        A sentence, or None if all is finite.

    Raises:
        TypeError: if `compute_dtype` is not floating-point, or as the step that
            `make_step` returns.
        ValueError: likewise.
    """
    for what, tree in (("params", params), ("the batch", batch)):
        if bad := in_leaves(tree):
            return f"{what} {have(what)} {bad}, before anything is computed."
    casts = Casts("first_nonfinite", compute_dtype, keep)
    batch = casts.batch(batch)
    for what, tree in (("params", casts.params(params)), ("the batch", batch)):
        if bad := in_leaves(tree):
            advice = "" if what == "params" else ": `keep` leaves what it names as it is"
            return f"{what} {have(what)} {bad}, once cast to {casts.dtype}{advice}."

    seen = Seen()

    def value_of(params):
        params = casts.params(params)
        seen.places.begin(params)
        return split(loss(params, batch, key))[0]

    with jax.disable_jit():
        with watching(seen.forward, direct=True):
            value = value_of(params)
        if found := seen.sentence():
            return found
        if not jnp.isfinite(value):
            return f"the loss is {value}, of outputs of layers that are finite."
        with watching(seen.backward, direct=True):
            grads = jax.grad(value_of)(params)
    if found := seen.sentence():
        return found
    if bad := in_leaves(grads):
        return f"the gradient has {bad}, of a loss and outputs of layers that are finite."
    return None


class Seen:
    """Watches the calls of layers, and remembers the first that is not finite."""

    def __init__(self):
        self.places = Places()
        self.first: str | None = None

    def sentence(self):
        """What was found, when all that was computed has been."""
        jax.effects_barrier()
        return self.first

    def forward(self, call, params, x, **arguments):
        """Call a layer, and look at what it is given and gives."""
        where = self.enter(call, params)
        if where is None:
            return self.through(call, params, x, arguments)
        self.look("layer {} was given {}, by what is no layer.", where, x)
        y = call.layer[1](params, x, **arguments)
        self.look("layer {} gave {}, of an input and params that are finite.", where, y)
        self.places.leave()
        return y

    def backward(self, call, params, x, **arguments):
        """Call a layer so that in the backward pass gradients are looked at."""
        where = self.enter(call, params)
        if where is None:
            return self.through(call, params, x, arguments)
        text = (
            "the backward pass of layer {{}} gave a gradient of its {} with {{}}, of a "
            "gradient of its output that is finite."
        )
        params = self.tap(text.format("params"), where, params)
        self.places.note(params)
        x = self.tap(text.format("input"), where, x)
        y = call.layer[1](params, x, **arguments)
        text = "layer {} was given a gradient of its output with {}, by what is no layer."
        y = self.tap(text, where, y)
        self.places.leave()
        return y

    def enter(self, call, params):
        """The names of a call, and the numbers of those that have one.

        None if the call is but a part of the one around it.
        """
        path = self.places.enter(call, params)
        if path is None:
            return None
        names = [name if index is None else None for name, index in path]
        return names, [index for _, index in path if index is not None]

    def through(self, call, params, x, arguments):
        """Call a layer that the one around it stands for."""
        y = call.layer[1](params, x, **arguments)
        self.places.leave()
        return y

    def look(self, text, where, tree):
        """Look at arrays: they may be those of a trace, which are known later."""
        names, numbers = where
        arrays = floats(tree)
        bad = [jnp.sum(~jnp.isfinite(a), dtype=jnp.int32) for a in arrays]
        count = sum(bad, start=jnp.int32(0))
        note = partial(self.note, text, names, sum(a.size for a in arrays))
        if any(isinstance(a, jax.core.Tracer) for a in (count, *numbers)):
            jax.debug.callback(note, count, *numbers)  # in jax.checkpoint, or jax.vmap
        else:
            note(count, *numbers)

    def note(self, text, names, size, count, *numbers):
        """Remember the first that is not finite."""
        if self.first is None and count:
            it = iter(numbers)
            path = "/".join(str(int(next(it))) if n is None else n for n in names)
            self.first = text.format(repr(path), described(count, size))

    def tap(self, text, where, tree):
        """The same arrays, whose cotangents are looked at."""
        leaves, structure = jax.tree.flatten(tree)
        names, numbers = where

        @jax.custom_vjp
        def same(arrays, numbers):
            return arrays

        def bwd(numbers, cotangents):
            self.look(text, (names, numbers), cotangents)
            return cotangents, None

        same.defvjp(lambda arrays, numbers: (arrays, numbers), bwd)
        floating = [is_float(a) for a in leaves]
        tapped = iter(same(floats(tree), numbers))
        leaves = [next(tapped) if f else a for a, f in zip(leaves, floating, strict=True)]
        return jax.tree.unflatten(structure, leaves)


def is_float(a):
    """Whether it is an array of floating-point numbers."""
    return hasattr(a, "dtype") and jnp.issubdtype(a.dtype, jnp.floating)


def floats(tree):
    """The floating-point arrays in a tree."""
    return [a for a in jax.tree.leaves(tree) if is_float(a)]


def in_leaves(tree):
    """The first leaf that is not finite, in words, or None."""
    for path, a in tree_leaves_with_path(tree):
        if is_float(a) and (count := int(jnp.sum(~jnp.isfinite(a)))):
            return f"{described(count, a.size)} at {keystr(path) or 'the root'}"
    return None


def described(count, size):
    """So many of so many, in words."""
    verb = "is" if size == 1 else "are"
    return f"{count} of {size} value{'s' * (size != 1)} that {verb} not finite"


def have(what):
    """The verb for it."""
    return "have" if what == "params" else "has"
