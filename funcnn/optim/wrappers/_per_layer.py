"""An optimizer in, one out that treats the layers of a stack one by one."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax.tree_util import tree_flatten_with_path

from funcnn.foundation._paths import as_patterns, first_match, path_of
from funcnn.optim.protocol._optimizer import Optimizer, extended
from funcnn.optim.protocol._rates import tells, told_by
from funcnn.optim.protocol._trees import checked, flatten, place, shape_of
from funcnn.optim.wrappers._partition import parts

NAME = "per_layer"
OTHERS = "others"


def per_layer(optimizer: Optimizer, patterns: str | Sequence[str]) -> Optimizer:
    """Treat the layers of a stack one by one, each as if it were a model of its own.

    `Stack` and `Transformer` hold the params of all layers in one array, whose first axis
    is the layer. An optimizer that looks at shapes takes biases of shape `(layers, n)` for
    a matrix, and one that looks at norms takes all layers for one: `muon`, `lamb`, `lars`,
    `adafactor`, `centralize`, `scale_by_trust_ratio`, `adaptive_grad_clip`,
    `clip_by_block_rms`. Here each layer gets what it would get alone:

        optim.chain(
            optim.clip_by_global_norm(1.0),
            optim.per_layer(optim.muon(1e-3), "blocks/*"),
        )

    It is `jax.vmap` of `init` and `update` over the first axis of the leaves that match,
    which see a layer's arrays alone. A norm taken inside is a layer's; a mask that is a
    function sees shapes without the axis of layers; numbers that `inject` keeps inside are
    arrays of one a layer. What is of all params goes around it: `clip_by_global_norm` in a
    chain, `accumulate`, `apply_if_finite`, `inject`, `schedule_free`, averages, and
    `add_noise`, of whose key each layer would have a copy.

    Args:
        optimizer: ours or optax's.
        patterns: a shell's patterns, or one, matched with a parameter's whole path, as in
            `train.shard`: "blocks/*" for a `Transformer`'s or any part of that name. The
            first that matches decides. A layer is what all leaves of one pattern and one
            depth hold at an index: stacks of different depths are apart.

    Returns:
        An `Optimizer` whose state is a `PartitionState`: of each stack, its layers' states
        with an axis of layers in front, as "DEPTH of PATTERN"; of all other leaves, which
        are treated together as without this wrapper, as `"others"`. Further arguments
        that are functions of params, as `sophia`'s loss, become functions of a layer's.

    Raises:
        TypeError: if `optimizer` has no `init` and `update`, a pattern is no string, or a
            gradient is not floating-point.
        ValueError: in `init` and `update`, if a pattern decides of no leaf though there are
            some, or a leaf that matches has no axis of layers; if gradients do not match
            the params.
    """
    extended(NAME, optimizer)
    patterns = as_patterns(NAME, "patterns", patterns)

    def split(tree):
        found = labels_of(tree, patterns)
        optimizers = {
            label: optimizer if label == OTHERS else layerwise(optimizer)
            for label in sorted(set(found))
        }
        labels = flatten(tree)[1].unflatten(found)
        return parts(NAME, optimizers, labels)

    def init(params):
        return split(params).init(params)

    def update(grads, state, params=None, **extra):
        grads = checked(NAME, grads, params)
        known = grads if params is None else params
        return split(known).update(grads, state, params, **extra)

    rate = told_by(optimizer)

    def rate_of(state):
        """That of the others, or of the first layer: all have made as many updates."""
        if OTHERS in state.inner:
            return rate(state.inner[OTHERS])
        return rate(jax.tree.map(lambda a: a[0], next(iter(state.inner.values()))))

    return Optimizer(init, tells(update, None if rate is None else rate_of))


def labels_of(tree, patterns):
    """What each leaf is a part of: a stack, by its depth and its pattern, or the others.

    Raises:
        ValueError: if a pattern decides of none, or a leaf that matches has no axes.
    """
    placed, _ = tree_flatten_with_path(tree)
    paths = [path_of(path) for path, _ in placed]
    chosen = [first_match(path, patterns) for path in paths]
    for pattern in patterns:
        if placed and pattern not in chosen:
            raise ValueError(
                f"{NAME} needs patterns that match a parameter; {pattern!r} decides of "
                f"none. There are {', '.join(paths)}."
            )
    return [
        label(pattern, path, w) for (path, w), pattern in zip(placed, chosen, strict=True)
    ]


def label(pattern, path, w):
    """What one leaf is a part of."""
    if pattern is None:
        return OTHERS
    if not shape_of(w):
        raise ValueError(
            f"{NAME} needs an axis of layers in what {pattern!r} matches; "
            f"got shape () at {place(path)}."
        )
    return f"{shape_of(w)[0]} of {pattern}"


def layerwise(optimizer):
    """An optimizer of stacks of one depth, mapped over their layers."""
    step_of = extended(NAME, optimizer)

    def init(params):
        return jax.vmap(optimizer.init)(params)

    def update(grads, state, params=None, **extra):
        _, treedef = flatten(grads)
        functions = {key: f for key, f in extra.items() if callable(f)}
        trees = {
            key: a
            for key, a in extra.items()
            if key not in functions and jax.tree.structure(a) == treedef
        }
        rest = {k: a for k, a in extra.items() if k not in functions | trees}

        def one(index, g, before, w, own):
            of_layer = {
                key: lambda layer, f=f: f(with_layer(params, index, layer))
                for key, f in functions.items()
            }
            return step_of(g, before, w, **of_layer, **own, **rest)

        depth = shape_of(jax.tree.leaves(grads)[0])[0]
        return jax.vmap(one)(jnp.arange(depth), grads, state, params, trees)

    return Optimizer(init, update)


def with_layer(params, index, layer):
    """A stack's params, those of one layer replaced."""
    return jax.tree.map(lambda w, own: jnp.asarray(w).at[index].set(own), params, layer)
