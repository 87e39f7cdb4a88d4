"""A training step in funcnn, and the parameters that all libraries begin with."""

import jax
import numpy as np

from benchmarks.steps.models import (
    EPS,
    MOMENTUM,
    RATE,
    Act,
    Attention,
    Conv,
    Dense,
    Embed,
    Flatten,
    GlobalPool,
    GroupNorm,
    LayerNorm,
    MaxPool,
    Model,
    Positions,
    Residual,
)
from benchmarks.steps.trainer import Trainer
from funcnn import layers, losses, optim


def prepare(model: Model, params: list[dict], inputs, labels) -> Trainer:
    """The model with `params`, one dict for each layer that has any, in order."""
    *body, head = map(make, model.layers)
    hidden = layers.Serial(*body)
    tree = jax.tree.structure(shapes(model), is_leaf=has_arrays)
    params = jax.tree.unflatten(tree, params)
    optimizer = optim.sgd(RATE, MOMENTUM)

    def loss(params, inputs, labels):
        x = hidden.apply(params[:-1], inputs)
        if model.tokens:  # so many classes that logits are better not held
            weight, bias = params[-1]["weight"], params[-1]["bias"]
            return losses.linear_softmax_cross_entropy(x, weight, labels, bias)
        return losses.softmax_cross_entropy(head.apply(params[-1], x), labels)

    def step(state, batch):
        params, opt_state = state
        value, grads = jax.value_and_grad(loss)(params, *batch)
        updates, opt_state = optimizer.update(grads, opt_state, params)
        return (optim.apply_updates(params, updates), opt_state), value

    return Trainer(step, (params, optimizer.init(params)), (inputs, labels))


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


def serial(parts) -> layers.Layer:
    """Layers one after the other."""
    return layers.Serial(*map(make, parts))


def make(part) -> layers.Layer:
    """The layer that is told."""
    match part:
        case Conv(features, kernel, stride, groups):
            return layers.Conv(features, kernel, stride, part.padding, groups=groups)
        case Dense(features):
            return layers.Dense(features)
        case GroupNorm(groups):
            return layers.GroupNorm(groups, EPS)
        case LayerNorm():
            return layers.LayerNorm(EPS)
        case Embed(vocabulary, features):
            return layers.Embed(vocabulary, features)
        case Positions(length, features):
            return layers.PositionalEmbedding(length, features)
        case Attention(heads):
            return layers.MultiHeadAttention(heads, causal=True)
        case Act(name):
            return {"relu": layers.Relu, "gelu": layers.Gelu}[name]()
        case MaxPool(window):
            return layers.MaxPool(window)
        case GlobalPool():
            return layers.GlobalAvgPool()
        case Flatten():
            return layers.Flatten()
        case Residual(body, ()):
            return layers.Residual(*map(make, body))
        case Residual(body, shortcut):
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
