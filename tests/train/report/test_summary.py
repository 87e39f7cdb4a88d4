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
