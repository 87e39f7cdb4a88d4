"""Every formulation is right, whichever the shapes would choose."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AbstractMesh, AxisType, PartitionSpec

from funcnn import ops, verify
from funcnn.foundation import _compiler
from funcnn.kernels import _chunks, _norms, _pooling, _windows
from funcnn.kernels import convolution as _convolution
from funcnn.kernels.convolution import _choice, _strips
from tests.support import claims

# Each run forces one formulation of each map, where it applies.
MAPS = {
    "convolve": _convolution.CONVOLVE,
    "input_gradient": {**_convolution.INPUT_GRADIENT, "turned": None},
    "filter_gradient": _convolution.FILTER_GRADIENT,
}
RUNS = max(map(len, MAPS.values()))


def applies(map_, name, arrays, w, groups):
    """Whether a formulation is one of convolutions of this geometry."""
    first, second = arrays
    if name.startswith("shifts"):
        if map_ == "filter_gradient":
            return first[-1] == groups
        return second[-2] == 1 or second[-1] == groups
    if name == "product":
        return math.prod(w.kernel) == 1
    if name == "turned":
        return math.prod(w.stride) == 1
    if name == "strips":
        return groups == 1
    return True


def force(monkeypatch, names):
    """Choose the formulations of these names; returns the set of those that ran."""
    ran = set()
    for map_, name in names.items():
        usual = getattr(_choice, map_)

        def choose(*geometry, map_=map_, name=name, usual=usual):
            *arrays, w, groups = geometry
            if not applies(map_, name, arrays, w, groups):
                return usual(*geometry)
            ran.add((map_, name))
            return name

        monkeypatch.setattr(_choice, map_, choose)
    return ran


@pytest.fixture
def traced_anew():
    """What was traced before, and is afterwards, holds another choice."""
    jax.clear_caches()
    yield
    jax.clear_caches()


def all_claims(*names):
    report = verify.check_ops(names)
    assert report.ok, str(report)


def some_claims(*names):
    """Values and cotangents, on cases of other kinds than the first alone."""
    for name in names:
        (op,) = verify.discover([name])
        cases = list(op.cases(np.random.default_rng(0)))
        claims.hold(name, *SHOWN.get(name, cases[1:3]))


SHOWN = {
    "avg_pool": ("2x2", "overlapping, SAME", "padding"),
    "linear_softmax_cross_entropy": ("bias", "all at once"),
}
EVERY = [
    pytest.param(some_claims, id="values and cotangents"),
    pytest.param(all_claims, id="all claims", marks=pytest.mark.exhaustive),
]


def of_run(run):
    return {map_: list(of)[run % len(of)] for map_, of in MAPS.items()}


# of each geometry that sets formulations apart, and of each that one is only for
TELLING = (
    "no bias, 1x1",
    "one sided padding",
    "padding over kernel",
    "dilation",
    "groups",
    "depthwise",
    "3 axes",
)


@pytest.mark.usefixtures("traced_anew")
@pytest.mark.parametrize("run", range(RUNS))
def test_values_and_cotangents_of_every_formulation(run, monkeypatch):
    names = of_run(run)
    ran = force(monkeypatch, names)
    claims.hold("conv", *TELLING)
    assert ran == set(names.items())


@pytest.mark.exhaustive
@pytest.mark.usefixtures("traced_anew")
@pytest.mark.parametrize("run", range(RUNS))
def test_all_claims_hold_for_every_formulation(run, monkeypatch):
    names = of_run(run)
    ran = force(monkeypatch, names)
    report = verify.check_ops(["conv", "conv_transpose"])
    assert report.ok, str(report)
    assert ran == set(names.items())


@pytest.mark.usefixtures("traced_anew")
def test_a_wrong_formulation_fails(monkeypatch):
    wrong = dict(_convolution.FILTER_GRADIENT)
    wrong["patches"] = lambda x, dy, w, groups: _convolution.FILTER_GRADIENT["windows"](
        x, dy, w, groups
    )[::-1]
    monkeypatch.setattr(_convolution, "FILTER_GRADIENT", wrong)
    force(monkeypatch, {"filter_gradient": "patches"})
    claims.hold("conv", "no bias, 1x1")  # one tap is the same turned around
    with pytest.raises(AssertionError, match="the cotangent of weight is wrong"):
        claims.hold("conv", "dilation")


def test_a_strip_has_as_many_blocks_as_it_reaches():
    for size, kernel, stride, dilation, features, expected in [
        (28, 5, 1, 1, 6, (4, 2, 7)),  # 8 positions of 4
        (28, 5, 1, 1, 64, (2, 3, 14)),  # 6 positions of 2
        (27, 3, 1, 1, 32, (4, 2, 7)),  # the last strip has 3 outputs
        (32, 4, 4, 1, 32, (1, 1, 8)),  # one beside the other
        (32, 3, 2, 3, 32, (4, 2, 4)),  # 13 positions of 8
        (3, 3, 1, 1, 1, (4, 2, 1)),
    ]:
        w = _windows.windows("conv", (8, size), (3, kernel), stride, "SAME", dilation)
        outputs, blocks = _strips.cut(w, features)
        assert (outputs, blocks.kernel[-1], blocks.out[-1]) == expected
        assert blocks.size[-1] == blocks.out[-1] + blocks.kernel[-1] - 1


def test_windows_side_by_side_are_strips():
    w = _windows.windows("conv", (8, 8), (2, 2), 2, "SAME")
    assert _choice.convolve((4, 8, 8, 16), (2, 2, 16, 8), w, 1) == "platform"
    assert _choice.input_gradient((4, 4, 4, 8), (2, 2, 16, 8), w, 1) == "strips"
    assert _choice.filter_gradient((4, 8, 8, 16), (4, 4, 4, 8), w, 1) == "strips"


@pytest.mark.parametrize(
    "image, kernel, found",
    [
        ((128, 28, 28, 1), (5, 5, 1, 6), ("strips", "strips", "strips")),
        ((8, 28, 28, 1), (3, 3, 1, 6), ("platform", "columns", "strips")),
        ((4, 224, 224, 3), (3, 3, 3, 64), ("platform", "columns", "platform")),
        ((8, 4, 4, 512), (3, 3, 512, 512), ("windows", "columns", "windows")),
        ((32, 14, 14, 256), (3, 3, 256, 256), ("platform", "turned", "platform")),
        ((64, 14, 14, 256), (3, 3, 256, 256), ("platform", "turned", "blocks")),
        ((8, 32, 32, 8), (1, 1, 8, 8), ("product", "turned", "product")),
        ((8, 32, 32, 8), (7, 7, 1, 8), ("shifts", "turned", "shifts by row")),
    ],
)
def test_shapes_choose(image, kernel, found):
    groups = image[-1] // kernel[-2]
    w = _windows.windows("conv", image[1:-1], kernel[:-2], 1, "SAME")
    output = (*image[:-1], kernel[-1])
    assert found == (
        _choice.convolve(image, kernel, w, groups),
        _choice.input_gradient(output, kernel, w, groups),
        _choice.filter_gradient(image, output, w, groups),
    )


def test_a_batch_of_unknown_size_is_no_small_one():
    (n,) = jax.export.symbolic_shape("n")
    w = _windows.windows("conv", (4, 4), (3, 3), 1, "SAME")
    assert _choice.convolve((n, 4, 4, 512), (3, 3, 512, 512), w, 1) == "platform"
    assert _choice.filter_gradient((n, 4, 4, 1), (n, 4, 4, 512), w, 1) == "platform"


@pytest.mark.usefixtures("traced_anew")
@pytest.mark.parametrize("every", EVERY)
@pytest.mark.parametrize("name", ["taps", "tiles", "images"])
def test_all_claims_hold_for_every_way_to_pool(name, every, monkeypatch):
    usual, ran = _pooling.choose, set()

    def choose(w):
        chosen = name if _pooling.tiled(w) or name != "tiles" else usual(w)
        ran.add(chosen)
        return chosen

    monkeypatch.setattr(_pooling, "choose", choose)
    every("avg_pool")
    assert name in ran


@pytest.mark.usefixtures("traced_anew")
@pytest.mark.parametrize("every", EVERY)
def test_all_claims_hold_for_norms_of_a_row_at_a_time(every, monkeypatch):
    monkeypatch.setattr(_norms, "rows_at_once", lambda shape, size: int(0 not in shape))
    every("layer_norm", "rms_norm")


@pytest.mark.usefixtures("traced_anew")
@pytest.mark.parametrize("every", EVERY)
@pytest.mark.parametrize("size", [1, 2])  # with 5 classes, no class left and one
def test_all_claims_hold_for_chunks_of_the_classes(size, every, monkeypatch):
    monkeypatch.setattr(_chunks, "classes_at_once", lambda _, most: min(size, most))
    every("linear_softmax_cross_entropy")


def test_chunks_of_classes_are_even():
    assert _chunks.classes_at_once((2048,), 32768) == 1024
    assert _chunks.classes_at_once((8, 256), 50257) == 1024
    assert _chunks.classes_at_once((2048,), 1024) == 1024  # all
    assert _chunks.classes_at_once((2048,), 1025) == 640  # two
    assert _chunks.classes_at_once((), 50257) == 50257
    assert _chunks.classes_at_once((1 << 16,), 512) == 256  # many rows
    assert _chunks.classes_at_once((0,), 32768) == 32768
    rows = jax.export.symbolic_shape("n")
    assert _chunks.classes_at_once(rows, 32768) == 1024
    assert _chunks.classes_at_once((2048,), rows[0]) == rows[0]


@pytest.mark.parametrize("classes, chunks", [(16384, 1), (16383, 2)])
def test_a_large_vocabulary_takes_the_memory_of_a_chunk(classes, chunks):
    """Or of two, if the last one is smaller than those before it."""

    def loss(x, weight, labels):
        return ops.linear_softmax_cross_entropy(x, weight, labels, ignore=-1).sum()

    shapes = [(1024, 16), (16, classes)]
    args = [jax.ShapeDtypeStruct(s, np.float32) for s in shapes]
    args.append(jax.ShapeDtypeStruct((1024,), np.int32))
    compiled = jax.jit(jax.value_and_grad(loss, (0, 1))).lower(*args).compile()
    chunk, logits = 4 * _chunks.CHUNK, 4 * 1024 * classes
    assert logits > 7.9 * chunk
    assert compiled.memory_analysis().temp_size_in_bytes < (chunks + 0.2) * chunk


@pytest.mark.usefixtures("traced_anew")
@pytest.mark.parametrize("every", EVERY)
def test_all_claims_hold_for_what_is_computed_once(every, monkeypatch):
    calls = []
    usual = _compiler.set_xla_metadata
    monkeypatch.setattr(_compiler, "LARGE", 0)
    monkeypatch.setattr(
        _compiler, "set_xla_metadata", lambda **told: (calls.append(told), usual(**told))[1]
    )
    for name in ("conv", "group_norm", "batch_norm", "rope"):
        calls.clear()
        every(name)
        assert calls


def test_what_is_computed_once_has_a_loop_of_its_own():
    def step(x):
        y = _compiler.apart(jnp.sin, x.shape, x)
        return y + 1, y * 2, y**2

    x = np.ones((256, 256), np.float32)
    text = jax.jit(step).lower(x).compile().as_text()
    assert text.count(" sine(") == 1
    assert " call(" in text
    small = jax.jit(step).lower(x[:8, :8]).compile().as_text()
    assert " call(" not in small
    exported = jax.export.export(jax.jit(step), platforms=["cuda"])(x).mlir_module()
    assert "inlineable" not in exported


@pytest.mark.usefixtures("traced_anew")
@pytest.mark.parametrize("every", EVERY)
def test_all_claims_hold_for_what_is_computed_anew(every, monkeypatch):
    calls = []
    usual = jax.lax.optimization_barrier
    monkeypatch.setattr(_compiler, "HUGE", 0)
    monkeypatch.setattr(
        jax.lax, "optimization_barrier", lambda x: (calls.append(x), usual(x))[1]
    )
    every("swiglu", "geglu")
    assert calls


@pytest.mark.usefixtures("traced_anew")
@pytest.mark.parametrize("op", [ops.swiglu, ops.geglu])
def test_what_is_computed_anew_is_not_written_out(op, monkeypatch):
    monkeypatch.setattr(_compiler, "HUGE", 64 * 64)

    def pull(gate, value, dy):
        return jax.vjp(op, gate, value)[1](dy)

    x = np.ones((64, 64), np.float32)
    loops = [
        jax.jit(pull).lower(a, a, a).compile().as_text().count(" exponential(")
        for a in (x, x[1:])
    ]
    assert loops == [2, 1]
    exported = jax.export.export(jax.jit(pull), platforms=["cuda"])(x, x, x).mlir_module()
    assert "optimization_barrier" not in exported


def test_blocks_of_rows_are_whole_and_of_one_size():
    assert _norms.rows_at_once((8192, 512), 4) == 2048
    assert _norms.rows_at_once((8, 56, 56, 96), 4) == 6272  # of at most 10922
    assert _norms.rows_at_once((512, 512), 4) == 0  # small
    assert _norms.rows_at_once((8191, 512), 4) == 0  # a prime number of rows
    assert _norms.rows_at_once((0, 512), 4) == 0


def head(x, weight, bias):
    labels = x[..., 0].astype(jnp.int32)
    return ops.linear_softmax_cross_entropy(x, weight, labels, bias, 0.1, 0.1, 5.0, -1)


# Of each formulation that adds up in a loop, one that the shapes choose.
LOOPS = {
    "depthwise": (ops.conv, (32, 32, 64), [(3, 3, 1, 64)], {"groups": 64}),
    "bias": (ops.conv, (32, 32, 3), [(3, 3, 3, 64), (64,)], {}),
    "images": (ops.group_norm, (32, 32, 64), [(64,), (64,)], {"groups": 8}),
    "channels": (
        lambda *arrays: ops.batch_norm(*arrays)[0],
        *((32, 32, 64), [(64,), (64,)], {}),
    ),
    "depthwise, by row": (ops.conv, (20, 20, 256), [(5, 5, 1, 256)], {"groups": 256}),
    "groups": (ops.conv, (8, 8, 4), [(3, 3, 2, 4)], {"groups": 2}),
    "a phase of zeros": (ops.conv, (8, 8, 4), [(2, 2, 1, 4)], {"groups": 4, "stride": 3}),
    "3 axes": (ops.conv, (4, 4, 4, 2), [(3, 3, 3, 2, 4)], {}),
    "overlapping pool": (ops.avg_pool, (5, 5, 2), [], {"window": 3, "stride": 2}),
    "chunks of classes": (head, (64, 64), [(64, 4096), (4096,)], {}),
    "large rows": (ops.layer_norm, (2, 512, 1024), [(1024,), (1024,)], {}),
}


@pytest.mark.parametrize("name", LOOPS)
def test_loops_add_up_what_differs_from_device_to_device(name):
    op, image, parameters, options = LOOPS[name]
    with jax.enable_x64(False):
        shapes = [jax.ShapeDtypeStruct(s, jnp.float32) for s in ((16, *image), *parameters)]

        def loss(*arrays):
            return jax.lax.psum(op(*arrays, **options).sum(), "i")

        over = [PartitionSpec("i"), *(PartitionSpec() for _ in parameters)]
        gradient = jax.grad(loss, range(len(shapes)))
        mapped = jax.shard_map(
            gradient,
            mesh=AbstractMesh((8,), ("i",), axis_types=(AxisType.Auto,)),
            in_specs=tuple(over),
            out_specs=tuple(over),
        )
        found = jax.eval_shape(mapped, *shapes)
    assert [f.shape for f in found] == [s.shape for s in shapes]


def test_pools_and_norms_loop_on_a_cpu_alone():
    def step(x):
        y = ops.avg_pool(x, 3, 2)
        scale = jnp.ones(x.shape[-1], x.dtype)
        return y, jax.grad(lambda x: ops.rms_norm(x, scale).sum())(x)

    shape = jax.ShapeDtypeStruct((64, 33, 33, 64), np.float32)
    count = {}
    for name in ("cpu", "cuda", "rocm", "tpu"):
        module = jax.export.export(jax.jit(step), platforms=[name])(shape).mlir_module()
        count[name] = module.count("stablehlo.while")
    assert count == {"cpu": 2, "cuda": 0, "rocm": 0, "tpu": 0}


@pytest.mark.parametrize("platform", ["cuda", "rocm", "tpu"])
def test_other_platforms_have_their_own_convolution(platform):
    def step(x, weight):
        return jax.vjp(lambda *a: ops.conv(*a, groups=8), x, weight)[1](x)

    shapes = [jax.ShapeDtypeStruct(s, np.float32) for s in ((2, 8, 8, 8), (3, 3, 1, 8))]
    lowered = {
        name: jax.export.export(jax.jit(step), platforms=[name])(*shapes).mlir_module()
        for name in (platform, "cpu")
    }
    assert lowered[platform].count("stablehlo.convolution") == 2
    assert "stablehlo.convolution" not in lowered["cpu"]
