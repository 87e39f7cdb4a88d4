"""Models lower for every platform JAX has, also those that are not at hand."""

import inspect

import jax
import jax.numpy as jnp
import pytest
from jax import export

from funcnn import layers, losses, ops, optim, train
from tests.support.combinations import thinned

PLATFORMS = ["cpu", "cuda", "rocm", "tpu"]


class Recorder:
    """The layers, and a record of which were used."""

    def __init__(self):
        self.used = set()

    def __getattr__(self, name):
        layer = getattr(layers, name)
        self.used.add(name)
        return layer


L = Recorder()


def cnn():
    activations = [L.Relu(), L.LeakyRelu(), L.Elu(), L.Softplus(), L.Gelu()]
    return L.Serial(
        stem=L.Conv(8, 3, 2, padding=1),
        pool=L.MaxPool(2, 1, "SAME"),
        spatial=L.Serial(L.DepthwiseConv(3, multiplier=2), L.GroupNorm(4)),
        up=L.Serial(L.SeparableConv(8, 3), L.ConvTranspose(8, 2, 2), L.RMSNorm()),
        blocks=L.Serial(*(L.Residual(L.Conv(8, 3, groups=2), f) for f in activations)),
        smooth=L.AvgPool(2),
        norm=L.LayerNorm(),
        drop=L.Dropout(0.5),
        flat=L.GlobalAvgPool(),
        head=L.Dense(10),
    )


def peaks():
    return L.Serial(L.Conv(4, 3), L.GlobalMaxPool(), L.Dense(10))


def mlp():
    return L.Serial(
        L.Flatten(),
        L.Dense(16),
        L.Silu(),
        L.SwiGLU(16),
        L.GeGLU(16, use_bias=True),
        L.Dense(16),
        L.Tanh(),
        L.Remat(L.Residual(L.LayerNorm(), L.Dense(16), L.Gelu(approximate=False))),
        L.Dropout(0.1),
        L.Lambda(jnp.cos),
        L.Cast(L.Dense(16), "float32"),
        L.Sigmoid(),
        L.LogSoftmax(),
        L.Dense(10, use_bias=False),
        L.Softmax(),
    )


def words():
    """A classifier of texts, eight integers long."""

    def turned(x):
        return ops.rope(x.reshape(*x.shape[:2], 2, 4)).reshape(x.shape)

    return L.Serial(
        tokens=L.Embed(50, 8),
        places=L.PositionalEmbedding(9, 8),
        waves=L.PositionalEmbedding(9, 8, "sinusoidal"),
        turned=L.Lambda(turned),
        flat=L.Flatten(),
        head=L.Dense(10),
    )


def language():
    """A classifier of texts by a transformer and another stack of blocks."""
    block = L.TransformerBlock(2, norm="post", activation="geglu", dropout=0.1)
    return L.Serial(
        model=L.Transformer(50, 8, 4, 2, key_heads=2, window=3, dropout=0.1, remat=True),
        narrow=L.Dense(8),
        attention=L.Residual(L.MultiHeadAttention(2)),
        blocks=L.Stack(block, 2),
        flat=L.Flatten(),
        head=L.Dense(10),
    )


def cnn_loss(model, params, batch, key):
    logits = model.apply(params, batch[0], key=key)
    metrics = {"accuracy": losses.accuracy(logits, batch[1])}
    smooth = losses.softmax_cross_entropy(
        logits, batch[1], label_smoothing=0.1, z_loss=1e-4
    )
    return smooth, metrics


def mlp_loss(model, params, batch, key):
    probs = model.apply(params, batch[0], key=key)
    hot = jax.nn.one_hot(batch[1], 10, dtype=probs.dtype)
    return losses.cross_entropy(probs, batch[1]) + losses.mse(probs, hot).astype(
        jnp.float32
    )


MODELS = {
    "cnn": (cnn(), cnn_loss),
    "mlp": (mlp(), mlp_loss),
    "peaks": (peaks(), cnn_loss),
    "words": (words(), cnn_loss),
    "language": (language(), cnn_loss),
}


def batch(name, dtype, size=4):
    """Inputs, of integers if they are words, and labels."""
    words = name in ("words", "language")
    shape = (size, 8) if words else (size, 8, 8, 3)
    x = jax.ShapeDtypeStruct(shape, jnp.int32 if words else dtype)
    return x, jax.ShapeDtypeStruct((size,), jnp.int32)


def value_and_grad(name):
    model, loss = MODELS[name]

    def f(params, batch):
        value = loss(model, params, batch, jax.random.key(1))
        return value[0] if isinstance(value, tuple) else value

    return jax.jit(jax.value_and_grad(f))


def abstract_params(name):
    model, _ = MODELS[name]
    return jax.eval_shape(model.init, jax.random.key(0), batch(name, jnp.float32)[0])


@thinned("name", list(MODELS), quick=5)
def test_value_and_grad_lowers_everywhere(name):
    exported = export.export(value_and_grad(name), platforms=PLATFORMS)(
        abstract_params(name), batch(name, jnp.float32)
    )
    assert exported.platforms == tuple(PLATFORMS)


STEPS = [
    *[(name, "bfloat16") for name in MODELS],
    *[(name, "float32") for name in reversed(MODELS)],
]


@thinned("name, dtype", STEPS, quick=2)
def test_a_training_step_lowers_everywhere(name, dtype):
    model, loss = MODELS[name]
    optimizer = optim.chain(optim.clip_by_global_norm(1.0), optim.adamw(1e-3))

    def start(key):
        return train.init(key, model, optimizer, batch(name, dtype)[0])

    state = jax.eval_shape(start, jax.random.key(0))
    step = train.make_step(lambda *args: loss(model, *args), optimizer)
    export.export(jax.jit(step), platforms=PLATFORMS)(state, batch(name, dtype))


@pytest.mark.parametrize("name", MODELS)
def test_a_batch_of_any_size_lowers(name):
    model, _ = MODELS[name]
    (size,) = export.symbolic_shape("b")
    x, labels = batch(name, jnp.float32, size)
    params = abstract_params(name)
    trained = export.export(value_and_grad(name))(params, (x, labels))
    assert trained.out_avals[0].shape == ()
    served = export.export(jax.jit(model.apply))(params, x)
    assert served.out_avals[0].shape == (size, 10)


def test_every_layer_is_in_one_of_the_models():
    public = {
        name
        for name, value in vars(layers).items()
        if name[0].isupper() and inspect.isfunction(value)
    }
    assert public == L.used
