"""A training step in funcnn, and the parameters that all libraries begin with."""

import jax
import numpy as np

from benchmarks.steps import parts
from benchmarks.steps.models import Model
from benchmarks.steps.trainer import Trainer, with_sgd
from funcnn import layers, losses, optim


def prepare(model: Model, params: list[dict], inputs, labels) -> Trainer:
    """The model with `params`, one dict for each layer that has any, in order."""
    *body, head = map(make, model.layers)
    hidden = layers.Serial(*body)
    tree = jax.tree.structure(shapes(model), is_leaf=has_arrays)
    params = jax.tree.unflatten(tree, params)

    def loss(params, inputs, labels):
        x = hidden.apply(params[:-1], inputs)
        if model.tokens:  # so many classes that logits are better not held
            weight, bias = params[-1]["weight"], params[-1]["bias"]
            return losses.linear_softmax_cross_entropy(x, weight, labels, bias)
        return losses.softmax_cross_entropy(head.apply(params[-1], x), labels)

    return with_sgd(optim, loss, params, (inputs, labels))


def initial(model: Model, seed: int = 0) -> list[dict]:
    """Parameters for all libraries: a dict of NumPy arrays for each layer that has any.

    They are `weight (*kernel, C // groups, O)` or `(m, n)` and `bias`, `scale` and
    `offset`, or a `table (n, d)`; attention has a dict of the first kind for each of
    `query`, `key`, `value` and `output`. None is exactly 0 or 1.
    """
    rng = np.random.default_rng(seed)

    def draw(path, like):
        normal = rng.standard_normal(like.shape, dtype=np.float32)
        match path[-1].key:
            case "weight":
                return normal * np.float32((2 / np.prod(like.shape[:-1])) ** 0.5)
            case "scale":
                return 1 + normal / 10
        return normal / 10

    drawn = jax.tree_util.tree_map_with_path(draw, shapes(model))
    return jax.tree.leaves(drawn, is_leaf=has_arrays)


def shapes(model: Model):
    """What `init` would return, without numbers."""
    key = jax.random.key(0)
    like = jax.ShapeDtypeStruct(model.shape, model.dtype)
    return jax.eval_shape(lambda: serial(model.layers).init(key, like))


def has_arrays(node) -> bool:
    """Whether `node` is the params of a layer that has some."""
    return isinstance(node, dict) and bool(node)


def serial(sequence) -> layers.Layer:
    """Layers one after the other."""
    return layers.Serial(*map(make, sequence))


def make(part) -> layers.Layer:
    """The layer that is told."""
    match part:
        case parts.Conv(features, kernel, stride, groups):
            return layers.Conv(features, kernel, stride, part.padding, groups=groups)
        case parts.Dense(features):
            return layers.Dense(features)
        case parts.GroupNorm(groups):
            return layers.GroupNorm(groups, parts.EPS)
        case parts.LayerNorm():
            return layers.LayerNorm(parts.EPS)
        case parts.Embed(vocabulary, features):
            return layers.Embed(vocabulary, features)
        case parts.Positions(length, features):
            return layers.PositionalEmbedding(length, features)
        case parts.Attention(heads):
            return layers.MultiHeadAttention(heads, causal=True)
        case parts.Act(name):
            return {"relu": layers.Relu, "gelu": layers.Gelu}[name]()
        case parts.MaxPool(window):
            return layers.MaxPool(window)
        case parts.GlobalPool():
            return layers.GlobalAvgPool()
        case parts.Flatten():
            return layers.Flatten()
        case parts.Residual(body, ()):
            return layers.Residual(*map(make, body))
        case parts.Residual(body, shortcut):
            return sum_of(serial(body), serial(shortcut))
    raise TypeError(f"there is no layer {part!r}")


def sum_of(a: layers.Layer, b: layers.Layer) -> layers.Layer:
    """Both layers of the same input, added. Params: theirs, in a pair."""

    def init(key, shape):
        keys = jax.random.split(key)
        return a.init(keys[0], shape), b.init(keys[1], shape)

    def apply(params, x, *, key=None):
        del key  # neither is random
        return a.apply(params[0], x) + b.apply(params[1], x)

    return layers.Layer(init, apply)
