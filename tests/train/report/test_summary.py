"""What a model is made of and costs, layer by layer."""

import jax
import jax.numpy as jnp
import pytest

from funcnn import train
from funcnn.layers import (
    Cast,
    Conv,
    Dense,
    Flatten,
    Gelu,
    Lambda,
    Layer,
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


@pytest.mark.parametrize("remat", [pytest.param(False, marks=pytest.mark.exhaustive), True])
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


def blocks_of_ones_own():
    """Two layers without names, one called directly, one through jit, and own params."""
    encoder = Serial(Dense(6), Relu(), Stack(Dense(6), 3))
    decoder, head = Serial(Dense(4), Relu(), Dense(5)), Dense(2)

    def init(key, shape):
        x, h, y = ((3, n) for n in (4, 6, 5))
        return {
            "parts": {"encoder": encoder.init(key, x), "decoder": decoder.init(key, h)},
            "head": head.init(key, y),
            "scale": jnp.ones(5, jnp.float32),
            "spare": {"weight": jnp.ones((2, 2)), "bias": jnp.ones(3)},
        }

    def apply(params, x, *, key=None):
        parts = params["parts"]
        x = encoder.apply(parts["encoder"], x)
        x = jax.jit(decoder.apply)(parts["decoder"], Relu().apply({}, x))
        half = jax.tree.map(lambda a: a.astype(jnp.bfloat16), params["head"])
        return head.apply(half, (x * params["scale"]).astype(jnp.bfloat16))

    return Layer(init, apply)


def test_a_summary_of_a_layer_of_ones_own():
    model = blocks_of_ones_own()
    report = train.summary(model, (3, 4))
    assert [(row.path, row.kind, row.params) for row in report.rows] == [
        ("parts/encoder", "Serial", 30 + 3 * 42),
        ("parts/encoder/0", "Dense", 30),
        ("parts/encoder/1", "Relu", 0),
        ("parts/encoder/2", "Stack", 3 * 42),
        ("parts/encoder/2/*", "Dense", 3 * 42),
        ("Relu", "Relu", 0),
        ("parts/decoder", "Serial", 28 + 25),
        ("parts/decoder/0", "Dense", 28),
        ("parts/decoder/1", "Relu", 0),
        ("parts/decoder/2", "Dense", 25),
        ("head", "Dense", 12),
        ("scale", "params", 5),
        ("spare", "params", 7),
    ]
    outer = {"parts/encoder", "parts/decoder", "head", "scale", "spare"}
    assert report.total.params == sum(r.params for r in report.rows if r.path in outer)
    flops = {row.path: row.flops for row in report.rows}
    assert flops["parts/encoder/2/*"] == 3 * (2 * 3 * 36 + 18)
    products = sum(flops[path] for path in ("parts/encoder", "parts/decoder", "head"))
    assert report.total.flops >= products
    lines = str(report).splitlines()
    assert lines[1].startswith("parts/encoder Serial  ")
    assert lines[2].startswith("  0 Dense  ")
    inside = rows(train.summary(Serial(a=Relu(), b=model), (3, 4)))
    assert inside["b"].params == report.total.params
    assert inside["b/parts/encoder/2/*"].params == 126
    assert [row.path for row in train.summary(model, (3, 4), depth=1).rows] == [
        "parts/encoder", "Relu", "parts/decoder", "head", "scale", "spare",
    ]  # fmt: skip


def test_no_param_is_without_a_row():
    for model, x in (
        (blocks_of_ones_own(), (3, 4)),
        (Serial(Residual(LayerNorm(), Remat(Cast(Dense(4), "bfloat16")))), (3, 4)),
        (Transformer(7, 8, 2, 3, tied=True), IDS),
    ):
        paths = {row.path.replace("/*", "") for row in train.summary(model, x).rows}
        params = jax.eval_shape(lambda model=model, x=x: model.init(KEY, x))
        for path, _ in jax.tree_util.tree_flatten_with_path(params)[0]:
            place = jax.tree_util.keystr(path, simple=True, separator="/")
            assert any(place == p or place.startswith(f"{p}/") for p in paths), place


def test_a_layer_around_another_is_one_row():
    inner = Dense(4)

    def apply(params, x, *, key=None):
        return inner.apply(params, 2 * x)

    model = Serial(Layer(inner.init, apply), Remat(Cast(Relu(), "bfloat16")))
    assert [row.path for row in train.summary(model, (3, 4)).rows] == ["0", "1"]


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
