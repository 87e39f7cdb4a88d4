"""Layers in turn: their keys, their names, and errors that say which one failed."""

import traceback
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnn import ops
from funcnn.layers import (
    Conv,
    Dense,
    Dropout,
    Flatten,
    Lambda,
    Layer,
    LayerNorm,
    MaxPool,
    Relu,
    Residual,
    Serial,
    Silu,
)
from tests.support.layer_samples import IMAGE
from tests.support.layers import KEY, abstract, assert_equal, by_key, fails, normal, shapes


def test_an_ensemble_is_drawn_and_trains_as_its_members():
    dense = partial(Dense, weight_init=by_key)
    model = Serial(dense(4), Residual(LayerNorm(), Silu()), dense(2))
    x = normal((2, 3), jnp.float32)

    def gradient(key):
        params = model.init(key, x)
        return params, jax.grad(lambda p: (model.apply(p, x) ** 2).mean())(params)

    keys = jax.random.split(KEY)
    together, alone = jax.jit(jax.vmap(gradient)), jax.jit(gradient)
    ensemble = jax.tree.map(np.asarray, together(keys))
    for i in range(2):
        params, grads = alone(keys[i])
        member = jax.tree.map(lambda a, i=i: a[i], ensemble)
        assert_equal(member[0], params, rtol=1e-6)
        assert_equal(member[1], grads, rtol=1e-5)


def test_layers_draw_from_different_keys():
    dense = partial(Dense, weight_init=by_key)
    model = Serial(dense(3), dense(3), Residual(dense(3)), Serial(a=dense(3)))
    named, plain = Serial(a=dense(3), b=dense(2)), Serial(dense(3), dense(2))
    other = Serial(dense(3))

    @jax.jit
    def draw(key, new):
        drawn = [m.init(key, (1, 3)) for m in (model, named, plain, other)]
        return drawn, other.init(new, (1, 3))

    (params, with_names, without, first), elsewhere = draw(KEY, jax.random.key(1))
    weights = [a.tolist() for a in jax.tree.leaves(params) if a.ndim == 2]
    assert len({str(w) for w in weights}) == 4
    assert (np.asarray(elsewhere[0]["weight"]) != params[0]["weight"]).all()
    # names make no difference, nor does what comes after
    assert list(with_names) == ["a", "b"]
    assert_equal(tuple(with_names.values()), without)
    assert_equal(without[0], first[0])


def test_serial_folds_the_position_into_the_key():
    x = normal((50, 20))
    model = Serial(Dropout(0.5), Serial(a=Relu(), b=Dropout(0.25)))
    residual = Residual(Dropout(0.5))
    params, alone = ({}, {"a": {}, "b": {}}), ({},)

    @jax.jit
    def both(x, key):
        second = jax.random.fold_in(jax.random.fold_in(key, 1), 1)
        first = ops.dropout(jax.random.fold_in(key, 0), x, 0.5)
        want = ops.dropout(second, ops.relu(first), 0.25)
        return (
            (model.apply(params, x, key=key), residual.apply(alone, x, key=key)),
            (want, x + first),
        )

    got, want = both(x, KEY)
    assert_equal(got, want)
    assert_equal(model.apply(params, x, key=KEY), want[0])
    assert_equal(model.apply(params, x), np.maximum(x, 0))
    assert_equal(residual.apply(alone, x), 2 * np.asarray(x))


def test_keys_of_the_old_kind():
    old = jax.random.PRNGKey(0)
    model = Serial(Dense(3), Dropout(0.5))
    x = np.ones((4, 3), np.float32)
    y = jax.eval_shape(lambda old: model.apply(model.init(old, (1, 3)), x, key=old), old)
    assert y.shape == (4, 3)


def test_serial_of_nothing_is_the_identity():
    assert Serial().init(KEY, (2, 3)) == ()
    x = normal((2, 3))
    assert Serial().apply((), x) is x


def test_serial_passes_pytrees_on():
    model = Serial(Lambda(lambda pair: pair[0] + pair[1]), Dense(3))
    shape = ((2, 4), jax.ShapeDtypeStruct((4,), jnp.float32))
    params = jax.eval_shape(lambda key: model.init(key, shape), KEY)
    assert shapes(params) == ({}, {"weight": (4, 3), "bias": (3,)})
    pair = (np.ones((2, 4), np.float32), np.ones(4, np.float32))
    assert jax.eval_shape(model.apply, params, pair).shape == (2, 3)


def test_a_layer_of_ones_own():
    def Scale():
        def init(key, shape):
            return {"scale": np.full(shape.shape[-1], 2, shape.dtype)}

        return Layer(init, lambda params, x, *, key=None: params["scale"] * x)

    model = Serial(Dense(3), Relu(), Scale())
    init, apply = model
    params, x = init(KEY, (2, 4)), normal((2, 4), jnp.float32)
    assert shapes(params)[2] == {"scale": (3,)}
    y = np.asarray(x) @ params[0]["weight"] + params[0]["bias"]
    assert_equal(apply(params, x), 2 * np.maximum(y, 0), rtol=1e-6)
    assert_equal(apply(list(params), x), apply(params, x))  # as a checkpoint gives them


def test_residual_promotes():
    x = jax.ShapeDtypeStruct((2, 3), jnp.bfloat16)
    params, _ = abstract(Dense(3), (2, 3))
    assert jax.eval_shape(Residual(Dense(3)).apply, (params,), x).dtype == jnp.float32


def raises(x):
    raise ArithmeticError


@pytest.mark.parametrize("container", [Serial, Residual])
def test_few_frames_between_the_user_and_the_op(container):
    frames = []

    def record(x):
        frames.extend(f.name for f in traceback.extract_stack() if "funcnn" in f.filename)
        return x

    model = container(Lambda(record))
    model.apply(({},), jnp.ones(3))
    assert frames == ["apply", "apply"]  # the container's, the layer's
    with pytest.raises(ArithmeticError) as caught:
        container(Lambda(raises)).apply(({},), jnp.ones(3))
    seen = [f.name for f in traceback.extract_tb(caught.value.__traceback__)]
    assert seen[1:] == ["apply", "apply", "raises"]


@pytest.mark.parametrize(
    "layer, message",
    [
        (Relu, "Serial needs layers; got the function Relu (did you mean Relu()?)"),
        (Dense, "got the function Dense (did you mean Dense()?) as layer 1."),
        (jnp.cos, "got the function cos (did you mean Lambda(cos)?) as layer 1."),
        (ops.relu, "got the function relu (did you mean Lambda(relu)?) as layer 1."),
        ([Relu()], "got a list (did you mean Serial(*layers)?) as layer 1."),
        (3, "Serial needs layers; got 3 as layer 1."),
        (None, "Serial needs layers; got None as layer 1."),
    ],
)
def test_what_is_no_layer(layer, message):
    fails(TypeError, message, Serial, Flatten(), layer)
    fails(TypeError, message, Residual, Flatten(), layer)
    named = message.replace("as layer 1", "as layer 'head'")
    fails(TypeError, named, Serial, stem=Flatten(), head=layer)


def test_serial_names_all_or_none():
    message = "Serial needs all of its layers named, or none; got both."
    fails(TypeError, message, Serial, Relu(), head=Dense(2))


def test_residual_of_other_shapes():
    layer, x = Residual(Lambda(lambda x: x[:1])), np.ones((2, 3))
    message = (
        "Residual needs layers that keep the shape of x; got (1, 3) for x of shape (2, 3)"
    )
    fails(ValueError, message, layer.apply, ({},), x)
    fails(TypeError, "Residual needs x to be an array; got tuple", layer.apply, ({},), (x,))


DENSE = {"weight": np.ones((3, 2)), "bias": np.ones(2)}


def test_serial_says_which_layer_failed():
    positional = Serial(Relu(), Serial(Flatten(), Dense(2)))
    named = Serial(stem=Relu(), head=MaxPool(9))
    for transform in (lambda f: f, jax.jit):
        with pytest.raises(ValueError, match="dense needs x of shape") as caught:
            transform(positional.apply)(({}, ({}, DENSE)), np.ones((2, 5)))
        notes = [n for n in caught.value.__notes__ if "layer" in n]
        assert notes == ["In layer 1 of Serial.", "In layer 1 of Serial."]
        with pytest.raises(ValueError, match="max_pool needs every spatial") as caught:
            transform(named.apply)({"stem": {}, "head": {}}, np.ones(IMAGE))
        assert "In layer 'head' of Serial." in caught.value.__notes__
    note = "In layer 'head' of Serial."
    fails(ValueError, "max_pool needs every spatial", named.init, KEY, IMAGE, note=note)
    bad = Serial(stem=Relu(), head=Conv(2, 3))
    fails(ValueError, "Conv needs x of shape", bad.init, KEY, (2, 3), note=note)
