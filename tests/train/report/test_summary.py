"""What models are made of, and where their first NaN comes from."""

import jax
import jax.numpy as jnp
import pytest

from funcnn import losses, train
from funcnn.layers import (
    Cast,
    Conv,
    Dense,
    Dropout,
    Flatten,
    Gelu,
    Lambda,
    LayerNorm,
    Relu,
    Remat,
    Residual,
    Serial,
    Stack,
    Transformer,
)

KEY = jax.random.key(0)
IDS = jax.ShapeDtypeStruct((2, 5), jnp.int32)


def rows(report):
    return {row.path: row for row in report.rows}


# The summary


def test_a_summary_by_hand():
    head = Serial(flat=Flatten(), dense=Dense(10))
    report = train.summary(Serial(conv=Conv(4, 1), act=Relu(), head=head), (8, 3, 3, 2))
    found = rows(report)
    kinds = {path: row.kind for path, row in found.items()}
    assert list(kinds.items()) == [
        ("conv", "Conv"),
        ("act", "Relu"),
        ("head", "Serial"),
        ("head/flat", "Flatten"),
        ("head/dense", "Dense"),
    ]
    conv, dense = found["conv"], found["head/dense"]
    assert conv.output == jax.ShapeDtypeStruct((8, 3, 3, 4), jnp.float32)
    assert (conv.params, conv.bytes) == (12, 48)
    assert conv.flops == 2 * 72 * 2 * 4 + 72 * 4  # products, and the bias
    assert conv.kept == 4 * 8 * 9 * 2  # its input
    assert (dense.params, dense.bytes, dense.times) == (370, 1480, 1)
    assert dense.flops == 2 * 8 * 36 * 10 + 80
    assert dense.kept == 4 * 8 * 36
    assert found["head/flat"][4:] == (0, 0, 0, 0)
    assert found["head"].flops == dense.flops
    total = report.total
    assert (total.kind, total.output) == ("Serial", found["head"].output)
    assert (total.params, total.bytes) == (382, 1528)
    assert total.flops == conv.flops + found["act"].flops + dense.flops
    # what Relu gave is what Dense was given
    assert total.kept == conv.kept + max(found["act"].kept, dense.kept)
    assert 2 * total.flops < total.step_flops < 3.5 * total.flops
    assert total.temporary > 0


def test_the_temporary_memory_is_that_of_the_compiled_step():
    model = Serial(*[Residual(Dense(32), Gelu())] * 3)
    shape = (64, 32)

    def run(params, x, key, dy):
        y, pull = jax.vjp(lambda p: model.apply(p, x, key=key), params)
        return y, pull(dy)

    params = jax.eval_shape(lambda: model.init(KEY, shape))
    x = jax.ShapeDtypeStruct(shape, jnp.float32)
    compiled = jax.jit(run).lower(params, x, KEY, x).compile()
    total = train.summary(model, shape).total
    want = compiled.memory_analysis().temp_size_in_bytes
    assert total.temporary == pytest.approx(want, rel=0.05)
    assert total.step_flops == pytest.approx(compiled.cost_analysis()["flops"], rel=0.1)


@pytest.mark.parametrize("remat", [False, True])
def test_a_stack_counts_as_often_as_it_repeats(remat):
    block = Residual(LayerNorm(), Dense(16), Gelu())
    x = (8, 16)
    loop = train.summary(Serial(Dense(16), Stack(block, 5, remat=remat)), x)
    line = train.summary(Serial(Dense(16), Stack(block, 5, remat=remat, scan=False)), x)
    assert [row.path for row in line.rows][1:4] == ["1", "1/0", "1/0/0"]
    of_loop, of_line = rows(loop), rows(line)
    assert of_loop["1/*"].times == of_loop["1/*/1"].times == 5
    assert of_loop["1/*"].kind == ("Remat(Residual)" if remat else "Residual")
    assert of_loop["1/*/1"].params == 5 * of_line["1/0/1"].params == 5 * 272
    assert of_loop["1/*/1"].flops == 5 * of_line["1/0/1"].flops
    for name in ("params", "bytes"):
        assert getattr(loop.total, name) == getattr(line.total, name)
    assert loop.total.flops == pytest.approx(line.total.flops, rel=0.01)
    assert loop.total.step_flops == pytest.approx(line.total.step_flops, rel=0.05)


def test_remat_shows_what_it_saves_and_costs():
    block = Residual(LayerNorm(), Dense(64), Gelu(), Dense(16))
    plain = train.summary(Serial(block, block), (32, 16))
    saving = train.summary(Serial(*[Remat(block)] * 2), (32, 16))
    size = 32 * 16 * 4
    assert rows(saving)["0"].kind == "Remat(Residual)"
    assert rows(saving)["0"].kept == pytest.approx(size, abs=8)  # and a key
    assert rows(plain)["0"].kept > 8 * size
    assert saving.total.kept < plain.total.kept / 4
    more = saving.total.step_flops - plain.total.step_flops
    assert 0.5 < more / plain.total.flops < 1  # the last product is not needed again


def test_a_summary_of_a_transformer_is_a_table():
    model = Transformer(7, 8, 2, 3, dropout=0.5, tied=False)
    report = train.summary(model, IDS)
    params = jax.eval_shape(lambda: model.init(KEY, IDS))
    assert report.total.params == sum(a.size for a in jax.tree.leaves(params))
    assert report.total.output.shape == (2, 5, 7)
    lines = str(report).splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0].split() == ["layer", "output", "params", "bytes", "FLOPs", "kept"]
    named = [line.split()[0] for line in lines[1 : len(report.rows) + 1]]
    assert named == [row.path.split("/")[-1] for row in report.rows]
    [stack] = [line for line in lines if " x3 " in line]
    assert stack.startswith("  * x3 TransformerBlock  ")
    assert lines[len(report.rows) + 1].startswith("total ")
    assert "\nForward and backward: " in str(report)


def test_tables_of_long_names_fit():
    model = Serial(**{"a_name_that_goes_on_and_on_" * 4: Residual(Lambda(jnp.cos))})
    x = jax.ShapeDtypeStruct((128, 256, 256, 3), jnp.float32)
    lines = str(train.summary(model, x)).splitlines()
    assert max(map(len, lines)) <= 80
    assert "…  128x256x256x3" in lines[1]


def test_the_depth_of_a_summary():
    model = Serial(Serial(Serial(Dense(2))), Relu())
    for depth, want in ((0, []), (1, ["0", "1"]), (2, ["0", "0/0", "1"])):
        report = train.summary(model, (1, 3), depth=depth)
        assert [row.path for row in report.rows] == want
    assert len(train.summary(model, (1, 3)).rows) == 4
    assert not train.summary(Dense(2), (1, 3)).rows


def test_a_summary_of_several_inputs_and_dtypes():
    model = Serial(Lambda(lambda pair: pair[0] + pair[1]), Cast(Dense(3), "bfloat16"))
    report = train.summary(model, ((2, 4), jax.ShapeDtypeStruct((4,), jnp.float32)))
    assert rows(report)["1"].bytes == 60
    assert rows(report)["1"].output.dtype == jnp.bfloat16
    assert report.total.output.shape == (2, 3)


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        ((Dense, (1, 3)), TypeError, "summary needs a layer; got <function Dense"),
        ((Dense(2), "ab"), TypeError, "summary needs a shape, a tuple of ints, or"),
    ],
)
def test_bad_summaries(arguments, error, message):
    with pytest.raises(error, match=f"^{message}"):
        train.summary(*arguments)
    with pytest.raises(ValueError, match=r"^summary needs depth of at least 0; got -1.$"):
        train.summary(Dense(2), (1, 3), depth=-1)


# The first number that is not finite


@jax.custom_vjp
def broken(x):
    return x


def broken_bwd(_, dy):
    return (dy.at[0, 0].set(jnp.nan),)


broken.defvjp(lambda x: (x, None), broken_bwd)

PLAIN = Serial(a=Dense(4), b=Residual(Dense(4), Lambda(jnp.cos)), c=Dense(3))
X = jnp.ones((5, 4), jnp.float32)


def drawn(model, x=X):
    return model.init(KEY, x)


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


@pytest.mark.parametrize("options", [{}, {"remat": True}, {"scan": False}])
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
        "layer 'a/0' was given 20 of 20 values that are not finite, by what is no layer."
    )


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
