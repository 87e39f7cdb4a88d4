"""A model comes in; a tree of the calls of its layers goes out, with what each costs."""

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import jax
import numpy as np
from jax.extend.core import Literal

from funcnn.layers.protocol._calls import Call, watching
from funcnn.layers.protocol._layer import Layer
from funcnn.layers.protocol._places import Places, names

VIEWS = ("reshape", "squeeze", "expand_dims", "copy", "copy_p")


class Node:
    """A call of a layer, and the calls that it makes."""

    def __init__(
        self, call: Call, path: tuple[str, ...], times: int, given: tuple, depth: int = 0
    ):
        self.call, self.path, self.times, self.depth = call, path, times, depth
        self.children: dict[tuple[str, ...], Node] = {}
        self.output: Any = None
        leaves, self.tree = jax.tree.flatten(given)
        # what is no array, such as the length of a cache, is no argument of a program
        self.fixed = [None if hasattr(a, "dtype") else a for a in leaves]
        self.arrays = [abstract(a) for a in leaves if hasattr(a, "dtype")]
        self.params = jax.tree.map(abstract, given[0])
        self.count = len(jax.tree.leaves(self.params))

    def apply(self, arrays):
        """The layer as a function of arrays."""
        it = iter(arrays)
        leaves = [next(it) if a is None else a for a in self.fixed]
        params, x, arguments = jax.tree.unflatten(self.tree, leaves)
        return self.call.layer[1](params, x, **arguments)

    def inside(self) -> Iterator["Node"]:
        """All calls in this one, outer ones first."""
        for node in self.children.values():
            yield node
            yield from node.inside()

    @cached_property
    def forward(self) -> float:
        """XLA's count of the forward pass, loops counted as one pass of them."""
        return count(jax.jit(lambda arrays: self.apply(arrays)).lower(self.arrays))

    @cached_property
    def both(self) -> float:
        """The same of forward and backward pass."""
        return count(self.forward_and_backward(inputs=bool(self.depth)))

    def flops(self) -> float:
        """Of the forward pass, with all passes of a loop over a layer."""
        more = (c.call.times * c.flops() - c.forward for c in self.children.values())
        return self.forward + sum(more)

    def step_flops(self) -> float:
        """The same of forward and backward pass."""
        if all(node.call.times == 1 for node in self.inside()):
            return self.both
        more = (c.call.times * c.step_flops() - c.both for c in self.children.values())
        return self.both + sum(more)

    def kept(self) -> int:
        """Bytes from the forward to the backward pass, params aside."""

        def residuals(arrays):
            return jax.tree.leaves(jax.vjp(self.apply, arrays)[1])

        jaxpr = jax.make_jaxpr(residuals)(self.arrays).jaxpr
        whole: dict = {}  # what an array is a view of
        for eqn in jaxpr.eqns:
            if eqn.primitive.name in VIEWS:
                whole[eqn.outvars[0]] = whole.get(eqn.invars[0], eqn.invars[0])
        arrays = [a for a in jaxpr.outvars if not isinstance(a, Literal)]
        held = {whole.get(a, a) for a in arrays} - {*jaxpr.invars[: self.count]}
        return sum(nbytes(a.aval) for a in held)

    def forward_and_backward(self, inputs: bool = False):
        """The program, lowered, that gives the output, and a gradient for its cotangent.

        Args:
            inputs: whether the gradient is of inputs as well as of params.
        """
        leaves, tree = jax.tree.flatten(self.output)

        def run(arrays, cotangents):
            y, pull = jax.vjp(self.apply, arrays)
            (grads,) = pull(jax.tree.unflatten(tree, map(cotangent, leaves, cotangents)))
            wanted = grads if inputs else grads[: self.count]
            return y, [g for g in wanted if g.dtype != jax.dtypes.float0]

        return jax.jit(run).lower(self.arrays, leaves)


def traced(model: Layer, params: Any, x: Any, key: Any) -> Node:
    """Trace a model, and return what calls it makes.

    Args:
        model: a layer.
        params: of it, or their shapes.
        x: a pytree of shapes.
        key: the shape of one.
    """
    whole = Node(Call(model, ""), (), 1, (params, x, {"key": key}))
    around, places = [whole], Places()

    def watcher(call, params, x, **arguments):
        outer, place = around[-1], places.enter(call, params)
        if place is None:
            y = call.layer[1](params, x, **arguments)
            places.leave()
            return y
        path, times = names(place), outer.times * call.times
        node = Node(call, path, times, (params, x, arguments), outer.depth + 1)
        outer.children[path] = node  # a loop may be traced again: the last one stays
        around.append(node)
        y = call.layer[1](params, x, **arguments)
        around.pop()
        places.leave()
        node.output = jax.tree.map(abstract, y)
        return y

    def run(arrays):
        params, _, _ = jax.tree.unflatten(whole.tree, arrays)
        places.begin(params)
        return whole.apply(arrays)

    with watching(watcher, direct=True):
        # a new function, as what JAX has traced before is not traced again
        whole.output = jax.eval_shape(run, whole.arrays)
    return whole


def abstract(a):
    """The shape and dtype of an array."""
    return jax.ShapeDtypeStruct(a.shape, a.dtype)


def nbytes(a) -> int:
    """What an array of this shape and dtype takes."""
    return a.size * a.dtype.itemsize


def count(lowered) -> float:
    """The floating-point operations of a program, as XLA counts them."""
    return (lowered.cost_analysis() or {}).get("flops", 0.0)


def cotangent(leaf, given):
    """A cotangent for an output, which is none if that is of integers."""
    if jax.numpy.issubdtype(leaf.dtype, jax.numpy.floating):
        return given
    return np.zeros(leaf.shape, jax.dtypes.float0)
