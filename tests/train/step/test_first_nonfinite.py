"""Where the first number that is not finite comes from."""

import jax
import jax.numpy as jnp
import pytest

from funcnn import losses, train
from funcnn.layers import (
    Dense,
    Dropout,
    Lambda,
    Relu,
    Remat,
    Residual,
    Serial,
    Stack,
    Transformer,
)
from tests.support import drawn_params

KEY = jax.random.key(0)
IDS = jax.ShapeDtypeStruct((2, 5), jnp.int32)


@jax.custom_vjp
def broken(x):
    return x


def broken_bwd(_, dy):
    return (dy.at[0, 0].set(jnp.nan),)


broken.defvjp(lambda x: (x, None), broken_bwd)

PLAIN = Serial(a=Dense(4), b=Residual(Dense(4), Lambda(jnp.cos)), c=Dense(3))
X = jnp.ones((5, 4), jnp.float32)


def drawn(model, x=X):
    return drawn_params.drawn(model, x)


def where(model, f=jnp.sum, params=None, x=X, around=lambda f: f, **options):
    def loss(params, batch, key):
        y = around(lambda p, x: model.apply(p, x, key=key))(params, batch)
        return f(y), {"mean": y.mean()}

    params = drawn(model, x) if params is None else params
    return train.first_nonfinite(loss, params, x, KEY, **options)


def log_of(x):
    return jnp.log(x - x)


def test_nothing_is_wrong():
    assert where(Serial(Dense(4), Dropout(0.5), Residual(Remat(Dense(4))))) is None


def test_params_and_batches_that_are_not_finite():
    params = drawn(PLAIN)
    params["b"][0]["bias"] = params["b"][0]["bias"].at[1:3].set(jnp.nan)
    assert where(PLAIN, params=params) == (
        "params have 2 of 4 values that are not finite at ['b'][0]['bias'], before "
        "anything is computed."
    )
    assert where(PLAIN, x=X.at[0, 0].set(jnp.inf)) == (
        "the batch has 1 of 20 values that are not finite at the root, before anything is "
        "computed."
    )
    params = {"scale": jnp.float32(jnp.inf)}
    found = train.first_nonfinite(lambda *_: jnp.float32(0), params, None, KEY)
    assert found.startswith("params have 1 of 1 value that is not finite at ['scale'],")


GAVE = (
    "layer {!r} gave {} of {} values that are not finite, of an input and params that are "
    "finite."
)


@pytest.mark.parametrize("around", [lambda f: f, jax.jit, jax.checkpoint, Remat])
def test_the_innermost_layer_is_named(around):
    block = Residual(Relu(), Lambda(log_of))
    model = Serial(a=Dense(4), b=around(block) if around is Remat else block, c=Dense(3))
    f = (lambda f: f) if around is Remat else around
    assert where(model, around=f) == GAVE.format("b/1", 20, 20)


def test_what_jax_has_traced_before_is_seen_too():
    model = Serial(a=Lambda(log_of))
    apply = jax.jit(model.apply)
    apply({"a": {}}, X)
    found = train.first_nonfinite(lambda p, x, k: apply(p, x).sum(), {"a": {}}, X, KEY)
    assert found == GAVE.format("a", 20, 20)


def test_a_batch_of_calls_is_seen_too():
    found = where(
        Serial(a=Relu(), b=Lambda(log_of)), around=lambda f: jax.vmap(f, (None, 0))
    )
    assert found == GAVE.format("b", 4, 4)


@pytest.mark.parametrize(
    "options",
    [{}, {"remat": True}, pytest.param({"scan": False}, marks=pytest.mark.exhaustive)],
)
def test_the_layer_of_a_stack_is_numbered(options):
    layer = Serial(Dense(4), Lambda(lambda x: jnp.where(x > 1e30, jnp.inf, x)))
    model = Serial(first=Relu(), blocks=Stack(layer, 3, **options))
    params = drawn(model)
    bias = params["blocks"][0]["bias"]
    params["blocks"][0]["bias"] = bias.at[1, 2:].set(2e30)
    found = where(model, params=params, around=jax.jit)
    assert found == GAVE.format("blocks/1/1", 10, 20)


def test_what_is_no_layer():
    assert where(PLAIN, lambda y: jnp.log(y - y).sum()) == (
        "the loss is -inf, of outputs of layers that are finite."
    )
    inner = Serial(Relu())
    outer = Lambda(lambda x: inner.apply(({},), log_of(x)))
    assert where(Serial(a=outer)) == (
        "layer 'a/Serial' was given 20 of 20 values that are not finite, by what is no "
        "layer."
    )


@pytest.mark.parametrize("around", [lambda f: f, jax.jit, jax.checkpoint])
@pytest.mark.parametrize("options", [{}, {"compute_dtype": "bfloat16"}])
def test_layers_that_a_loss_calls_itself(around, options):
    """Two without names are told apart by their params."""
    encoder = Serial(Dense(4), Lambda(jnp.cos))
    decoder = Serial(Dense(3), Lambda(lambda x: jnp.where(x > 1e30, jnp.inf, x)))

    def loss(params, x, key):
        y = around(encoder.apply)(params["encoder"], x)
        return decoder.apply(params["decoder"], y).sum()

    params = {"encoder": drawn(encoder), "decoder": drawn(decoder)}
    params["decoder"][0]["bias"] = params["decoder"][0]["bias"].at[0].set(2e30)
    found = train.first_nonfinite(loss, params, X, KEY, **options)
    assert found == GAVE.format("decoder/1", 5, 15)


def test_the_backward_pass_of_a_layer_that_a_loss_calls_itself():
    encoder, decoder = Serial(Dense(4), Lambda(jnp.cos)), Serial(Dense(3), Lambda(broken))

    def loss(params, x, key):
        return decoder.apply(params["d"], encoder.apply(params["e"], x)).sum()

    found = train.first_nonfinite(loss, {"e": drawn(encoder), "d": drawn(decoder)}, X, KEY)
    assert found.startswith("the backward pass of layer 'd/1' gave a gradient of its input")


def test_the_backward_pass_of_a_layer():
    model = Serial(a=Dense(4), b=Residual(Dense(4), Lambda(broken)), c=Dense(3))
    want = (
        "the backward pass of layer 'b/1' gave a gradient of its input with 1 of 20 values "
        "that are not finite, of a gradient of its output that is finite."
    )
    assert where(model) == want
    assert where(model, around=jax.checkpoint) == want
    deep = Serial(a=Dense(4), s=Stack(Residual(Dense(4), Lambda(broken)), 2))
    assert where(deep) == want.replace("b/1", "s/1/1")


def test_a_gradient_of_the_loss():
    assert where(PLAIN, lambda y: jnp.sqrt(y - y).sum()) == (
        "layer 'c' was given a gradient of its output with 15 of 15 values that are not "
        "finite, by what is no layer."
    )
    found = train.first_nonfinite(
        lambda p, *_: jnp.sqrt(p["w"]).sum(), {"w": jnp.zeros(3)}, None, KEY
    )
    assert found == (
        "the gradient has 3 of 3 values that are not finite at ['w'], of a loss and "
        "outputs of layers that are finite."
    )


def test_in_low_precision():
    model = Serial(a=Dense(4), b=Lambda(lambda x: x * jnp.asarray(6e4, x.dtype)))
    params, x = drawn(model), 8 * X
    assert where(model, params=params, x=x) is None
    found = where(model, params=params, x=x, compute_dtype="float16")
    assert found.startswith("layer 'b' gave ")
    with pytest.raises(TypeError, match="first_nonfinite needs a compute_dtype that is"):
        where(model, compute_dtype="int8")


def test_a_transformer():
    model = Transformer(7, 8, 2, 2)
    params = drawn(model, IDS)
    weight = params["blocks"]["mlp"]["output"]["weight"]
    params["blocks"]["mlp"]["output"]["weight"] = weight.at[1].set(3e38)
    ids = jnp.arange(10).reshape(2, 5) % 7

    def loss(params, ids, key):
        logits = model.apply(params, ids)
        return losses.softmax_cross_entropy(logits, ids)

    found = train.first_nonfinite(jax.jit(loss), params, ids, KEY)
    count = int(found.split()[3])
    assert found == GAVE.format("blocks/1/mlp/output", count, 80)
