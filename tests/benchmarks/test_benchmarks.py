"""Both sides compute the same, and what is said of them follows from their times."""

import json
import math
import os
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import __main__ as command
from benchmarks import (
    attention_command,
    measure,
    optim_command,
    plain,
    results,
    steps_command,
    tables,
    timing,
)
from benchmarks.cases import DisagreementError, agree, describe, draw, kinds, program
from benchmarks.choice import chosen
from benchmarks.results import Row, Run
from benchmarks.shapes import Shape, all_shapes, parse_option, parse_shape, shown
from benchmarks.steps import models, profile, race, with_funcnn
from benchmarks.steps import tables as step_tables
from benchmarks.steps.models import Model
from benchmarks.steps.with_funcnn import initial
from benchmarks.summary import GOALS, slow, summarise

ROOT = Path(__file__).parents[2]
SHAPES = all_shapes()
SPATIAL = ("conv", "conv_transpose", "max_pool", "avg_pool", "group_norm", "im2col")


# --- shapes ---------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_shapes_are_valid(shape):
    case = describe(shape)
    rival = jax.eval_shape(case.plain, *case.args)
    assert jax.tree.structure(rival) == jax.tree.structure(case.dy)
    for theirs, dy in zip(jax.tree.leaves(rival), jax.tree.leaves(case.dy), strict=True):
        assert (theirs.shape, theirs.dtype) == (dy.shape, dy.dtype)
        assert dy.dtype == jnp.float32


def test_shapes_are_many_and_told_apart():
    assert len(SHAPES) >= 60
    assert len({shape.name for shape in SHAPES}) == len(SHAPES)
    assert {group for group, _ in GOALS} <= {shape.group for shape in SHAPES}


def test_shapes_read_back():
    for shape in SHAPES:
        arrays = [word for word in shape.spec.split() if "=" not in word]
        options = [word for word in shape.spec.split() if "=" in word]
        back = parse_shape(shape.op, shape.network, " ".join(arrays), " ".join(options))
        assert back == shape


@pytest.mark.parametrize("value", [2, True, False, (2, 1), "SAME", ((0, 1), (2, 0))])
def test_options_read_back(value):
    back = parse_option(shown(value))
    assert (type(back), back) == (type(value), value)


def test_depthwise_and_grouped_convolutions_are_groups_of_their_own():
    shapes = {n: ((1, 4, 4, 6), (3, 3, 6 // n, 6)) for n in (1, 2, 6)}
    groups = [Shape("conv", "", a, {"groups": n}).group for n, a in shapes.items()]
    assert groups == ["conv", "grouped conv", "depthwise"]


# --- both sides compute the same ------------------------------------------------------


def shrunk(shape):
    """The same with less of everything, but for strides, dilations and paddings."""
    op, options = shape.op, dict(shape.options)
    first, *rest = shape.arrays
    if op == "col2im":
        options["shape"], first = (2, 5, 5, 4), (2, 5, 5, 36)
    elif op == "attention":  # as many queries to a key head, and longer keys if they were
        keys = 5 if first[1] == rest[0][1] else 7
        rest = [(2, keys, 4 * rest[0][2] // first[2], 3)]
        first = (2, 5, 4, 3)
        options |= {"window": 2} if "window" in options else {}
    elif op in SPATIAL:
        wide = 4
        if "groups" in options:
            options["groups"] = 4 if shape.group == "depthwise" else 2
        inputs = wide // options.get("groups", 1)
        kernel = [min(n, 3) for n in rest[0][:-2]] if rest else []
        rest = [(*kernel, inputs, 4)] if rest else []
        span = 2 * options.get("dilation", 1) + 3
        first = (2, *(min(n, span) for n in first[1:-1]), wide)
        if op.endswith("pool"):
            options["window"] = min(options["window"], 3)
    else:
        first, *rest = (tuple(min(n, 4) for n in array) for array in shape.arrays)
    return Shape(op, shape.network, (first, *rest), options)


SMALL = {small.name: small for small in map(shrunk, SHAPES)}


@pytest.mark.parametrize("name", SMALL)
def test_plain_formulation_is_the_op(name):
    shape = SMALL[name]
    case = draw(shape)

    @jax.jit
    def both(args, dy):
        return [
            {kind: program(f, case, kind)(args, dy) for kind in ("forward", "vjp")}
            for f in (case.mine, case.plain)
        ]

    mine, rival = both(case.args, case.dy)
    agree(mine, rival, bound=1e-5)
    assert set(rival["vjp"]) == {*case.names} - {"labels", "ids"}


def test_gradients_of_one_argument_are_those_of_all():
    case = draw(parse_shape("conv", "", "2,5,5,3 3,3,3,4"))
    for f in (case.mine, case.plain):
        vjp, weight, x = (
            program(f, case, kind)(case.args, case.dy)
            for kind in ("vjp", "filter", "input")
        )
        agree(weight | x, {name: vjp[name] for name in ("weight", "x")}, bound=1e-6)
        assert (*weight, *x) == ("weight", "x")


def test_every_op_with_a_shape_has_a_small_one():
    assert {shape.op for shape in SMALL.values()} == {shape.op for shape in SHAPES}


def test_arguments_are_not_at_their_initial_values():
    case = draw(parse_shape("layer_norm", "", "4,8"))
    for name, array in zip(case.names, case.args, strict=True):
        assert array.dtype == np.float32
        assert np.std(array) > 0.1, name


def test_disagreement_is_seen():
    right = {"x": jnp.arange(3.0), "weight": jnp.ones(2)}
    agree(right, right)
    with pytest.raises(DisagreementError, match=r"weight differs by 2\.0e-03"):
        agree(right | {"weight": jnp.array([1, 1.002])}, right)
    with pytest.raises(DisagreementError, match="x differs by nan"):
        agree(right | {"x": jnp.full(3, jnp.nan)}, right)
    with pytest.raises(DisagreementError, match="the value differs"):
        agree(jnp.ones(2), jnp.zeros(2))


# --- timing ---------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_turns_are_fair(count):
    turns = [timing.order(turn, count) for turn in range(2 * count)]
    assert all(sorted(turn) == list(range(count)) for turn in turns)
    firsts = [turn[0] for turn in turns]
    assert {firsts.count(i) for i in range(count)} == {2}


def test_rounds_are_paired(monkeypatch):
    """With a clock that each program moves on by its own time."""
    now = [0.0]
    monkeypatch.setattr(timing.time, "perf_counter", lambda: now[0])

    def program(seconds):
        def run():
            now[0] += seconds

        return run

    table = timing.paired([program(3.0), program(1.5)], seconds=0.0, rounds=5)
    np.testing.assert_array_equal(table, [[3.0, 1.5]] * 5)
    assert timing.ratio(table[:, 0], table[:, 1]) == (2, 2, 2)
    longer = timing.paired([program(3.0), program(1.5)], seconds=45.0, rounds=5)
    assert len(longer) == 10


def test_what_wakes_the_threads_is_not_counted(monkeypatch):
    now, awake = [0.0], [False]
    monkeypatch.setattr(timing.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(timing.time, "sleep", lambda _: awake.__setitem__(0, False))

    def run():
        now[0] += 1.0 if awake[0] else 5.0
        awake[0] = True

    table = timing.paired([run, run], seconds=0.0, rounds=3, turn=10.0, pause=0.1)
    np.testing.assert_array_equal(table, np.ones((3, 2)))
    assert now[0] == 3 * 2 * (5 + 10) + 4 + 4  # one run, then ten, each turn


# --- what is said of it ---------------------------------------------------------------


def row(case="conv 1 2", kind="vjp", ratio=2.0, spread=0.1, group="conv", network="Net"):
    low, high = ratio - spread / 2, ratio + spread / 2
    return Row(case, network, group, kind, 1e-3 * ratio, 1e-3, low, ratio, high)


def test_means_are_geometric_and_goals_are_met_or_not():
    rows = [row(ratio=1.0), row("conv 3 4", ratio=4.0), row(kind="filter", ratio=1.9)]
    vjp, filters = summarise(rows)
    assert (vjp.shapes, vjp.mean, vjp.verdict) == (2, 2.0, "reached")
    assert vjp.slowest == rows[0]
    assert (filters.kind, filters.goal, filters.verdict) == ("filter", 2.0, "missed")
    assert summarise([row(kind="forward")])[0].verdict == ""


def test_slow_shapes_are_told():
    rows = [row(), row("conv 3 4", ratio=0.9), row("conv 5 6", ratio=0.5)]
    assert [r.case for r in slow(rows)] == ["conv 5 6", "conv 3 4"]
    assert "0.50  vjp      conv 5 6" in tables.summary_text(rows)
    assert "No shape's ratio is below 0.95." in tables.summary_text(rows[:1])


def test_tables_fit_80_columns():
    rows = [
        row(shape.name, kind, 1234.5, 99, shape.group, shape.network)
        for shape in SHAPES
        for kind in kinds(shape)
    ]
    text = [tables.header(), tables.LEGEND, tables.BYTES, tables.COMPILING]
    text.append(tables.slowest_text([r._replace(ratio=0.5) for r in rows]))
    text += [tables.case_lines([r]) for r in rows] + [tables.summary_text(rows)]
    assert max(len(line) for part in text for line in part.splitlines()) <= 80


def test_markdown_has_a_line_a_row():
    rows = [row(), row(kind="filter")]
    text = tables.markdown(rows)
    assert "| conv | vjp | 1 | **2.00** | 1.5, reached | 2.00, Net |" in text
    assert "| conv | Net | `1 2` | filter | 2.00 | 2.00 | 0.10 |" in text


def test_runs_read_back(tmp_path):
    run = Run((row(), row(ratio=1 / 3)), results.here())
    results.write(tmp_path / "run.json", run)
    back = results.read(tmp_path / "run.json")
    assert back.about == run.about
    assert [r.case for r in back.rows] == [r.case for r in run.rows]
    assert back.rows[1].ratio == 0.3333


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(ValueError, match="there is no file"):
        results.read(tmp_path / "none.json")
    for text in ("", "[]", '{"rows": [{"a": 1}], "about": {}}'):
        (tmp_path / "bad.json").write_text(text)
        with pytest.raises(ValueError, match="does not hold a run"):
            results.read(tmp_path / "bad.json")


@pytest.mark.parametrize(
    ("before", "after", "fell"),
    [
        ((2.0, 0.0), (1.61, 0.0), False),  # by less than a fifth
        ((2.0, 0.0), (1.59, 0.0), True),
        ((2.0, 0.4), (1.59, 0.0), False),  # no more than then from round to round
        ((2.0, 0.0), (1.59, 0.4), False),
        ((2.0, 0.1), (1.0, 0.1), True),
        ((1.0, 0.1), (2.0, 0.1), False),
    ],
)
def test_regressions(before, after, fell):
    old, new = (Run((row(ratio=r, spread=s),), {}) for r, s in (before, after))
    found = results.regressions(new, old)
    assert bool(found) == fell
    if fell:
        assert found[0].startswith(f"conv 1 2, vjp: {after[0]:.2f}")


def test_regressions_are_of_the_same_case_and_kind():
    old = Run((row(ratio=9), row("conv 3 4", "filter", 9)), {})
    new = Run((row(kind="filter", ratio=1), row("conv 3 4", ratio=1)), {})
    assert results.regressions(new, old) == []
    assert len(results.uncovered(new, old)) == 4


# --- the command line -----------------------------------------------------------------

TINY = ["--op", "conv", "--shape", "2,5,5,3 3,3,3,4", "--stride", "2"]
SMALLEST = ["--op", "tanh", "--shape", "3,4"]


@pytest.fixture
def clock(monkeypatch):
    """In place of timing: every program takes a second, funcnn's half of one."""
    monkeypatch.setattr(measure, "paired", lambda *_: np.array([[1.0, 0.5]] * 7))


def test_one_case_given_in_numbers(clock, capsys):
    assert command.main(["ops", *TINY, "--kind", "vjp", "--kind", "filter"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["conv", "given", "vjp", "1000", "2.00", "0.00"]
    assert lines[2].split() == [
        *TINY[3].split(),
        "stride=2",
        *["filter", "1000", "2.00", "0.00"],
    ]
    assert any(line.startswith("conv           filter") for line in lines)


def test_files_and_markdown(clock, capsys, tmp_path):
    file = str(tmp_path / "run.json")
    assert command.main([*TINY, "--json", file, "--markdown"]) == 0
    assert "| conv | given |" in capsys.readouterr().out
    assert [r.kind for r in results.read(file).rows] == [
        "forward",
        "vjp",
        "filter",
        "input",
    ]


def test_check_fails_where_a_ratio_fell(clock, capsys, tmp_path):
    file = tmp_path / "run.json"
    assert command.main([*SMALLEST, "--save", str(file)]) == 0
    assert command.main([*SMALLEST, "--check", str(file)]) == 0
    data = json.loads(file.read_text())
    data["rows"][1] |= {"low": 3.0, "ratio": 3.1, "high": 3.2}
    data["about"]["jax"] = "0.0"
    file.write_text(json.dumps(data))
    capsys.readouterr()
    assert command.main([*SMALLEST, "--check", str(file)]) == 1
    out, err = capsys.readouterr()
    assert err.startswith("fell: tanh 3,4, vjp: 2.00")
    assert "on another machine or JAX" in err
    assert "1 ratios fell; 0 are in one of the runs alone." in out


def test_different_numbers_fail(clock, capsys, monkeypatch):
    monkeypatch.setattr(plain, "relu", lambda x: x)
    assert command.main(["--op", "relu", "--shape", "3,4"]) == 1
    assert "wrong: relu 3,4, forward: the value differs by" in capsys.readouterr().err


def test_memory_is_told(capsys):
    assert command.main(["--op", "gelu", "--shape", "3,4", "--memory"]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[1].split()[:3] == ["gelu", "given", "temp"]
    assert max(map(len, out.splitlines())) <= 80
    (cost,) = [
        c
        for c in measure.memory(describe(chosen(["relu"], "3,4", {})[0]))
        if c.what == "held"
    ]
    assert cost.mine == 48


def test_shapes_are_listed(capsys):
    assert command.main(["--op", "dense", "--shape", "MNIST", "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["dense  MNIST, first", "  128,784 784,512"]
    assert len(lines) == 4


@pytest.mark.parametrize("shape", ["2,5,4,3 2,5,2,3", "2,5,4,3 2,7,4,3"])
def test_attention_is_that_of_jax_and_pytorch(shape, plain_jax, monkeypatch, capsys):
    """The numbers are compared by the command itself."""
    causal = "causal=True" if shape.endswith("5,2,3") else ""
    small = {"small": parse_shape("attention", "small", shape, causal)}
    monkeypatch.setattr(attention_command, "SHAPES", small)
    assert command.main(["attention", "--seconds", "0"]) == 0
    words = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    peers = race.installed(["pytorch"])
    assert words[: 3 + len(peers)] == ["small", "funcnn", "jax", *peers]
    monkeypatch.setattr(attention_command, "causal", lambda _: not causal)
    assert command.main(["attention", "--seconds", "0"]) == 1
    out, err = capsys.readouterr()
    assert "wrong: small: 0 differs by" in err
    assert max(map(len, (out + attention_command.LEGEND).splitlines())) <= 80
    assert command.main(["attention", "--shape", "large"]) == 2
    assert "no shape 'large'; there are small" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["ops", "steps", "optim", "attention", "page"])
def test_help_fits_80_columns(name, monkeypatch, capsys):
    if name == "page":
        pytest.importorskip("matplotlib", reason="the picture is drawn by matplotlib")
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit):
        command.main([name, "--help"])
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--op", "convolve"], "no op 'convolve'; there are attention, avg_pool,"),
        (["--op", "dropout"], "no op 'dropout'"),
        (["--shape", "AlexNet"], "no shape has 'AlexNet' in it; --list prints them all"),
        (["--shape", "2,3"], "--shape '2,3' needs one --op"),
        (["--op", "relu", "--stride", "2"], "--stride is for a --shape in numbers"),
        (["--op", "conv", "--shape", "2,3"], "conv needs the shape of x and weight; got 1"),
        (["--op", "relu", "--shape", "2,0"], "a shape is like 128,28,28,1; got '2,0'"),
        ([*TINY, "--padding", "FULL"], "an option is like 2, 2,1, SAME, True or 0:1"),
        ([*TINY, "--window", "2"], "window"),
        ([*TINY, "--groups", "2"], "groups that divide the 3 channels"),
        (["--kind", "backward"], "no kind 'backward'; there are forward, vjp,"),
        (["--op", "relu", "--kind", "filter"], "these ops have no filter to time"),
        (["--rounds", "0"], "--rounds at least 1"),
        ([*TINY, "--memory", "--markdown"], "--memory and --compile go with --json alone"),
        ([*TINY, "--check", "none.json"], "there is no file none.json"),
    ],
)
def test_wrong_requests_are_refused(argv, message, capsys):
    assert command.main(argv) == 2
    err = capsys.readouterr().err
    assert message in " ".join(err.split())
    assert max(map(len, err.splitlines())) <= 80


# --- training steps -------------------------------------------------------------------

# Every kind of layer, small: of images here, of tokens below.
NETWORK = Model(
    (
        *(models.Conv(4, 3, 2), models.GroupNorm(2), models.RELU),
        models.Residual((models.Conv(4, 3, 1, 4), models.LayerNorm(), models.Act("gelu"))),
        models.Residual((models.Conv(6, 2, 2),), (models.Conv(6, 1, 2),)),
        *(models.MaxPool(2), models.Flatten(), models.LayerNorm(), models.Dense(10)),
    ),
    (5, 16, 16, 3),
)
TOKENS = models.transformer(16, heads=2, depth=1, length=12, batch=3, vocabulary=13)
POOLED = Model((models.Conv(4, 3), models.GlobalPool(), models.Dense(10)), (5, 6, 6, 3))


@pytest.fixture
def plain_jax(monkeypatch):
    """JAX as users have it, and what it compiled for other tests left alone."""
    monkeypatch.setattr(jax, "clear_caches", lambda: None)
    with jax.enable_x64(False), jax.numpy_dtype_promotion("standard"):
        yield


@pytest.mark.parametrize(
    "model", [NETWORK, POOLED, TOKENS], ids=["images", "pooled", "tokens"]
)
def test_training_steps_agree(model, plain_jax):
    peers = race.installed()
    if not peers:
        pytest.skip("no other library is installed")
    runs, costs = race.runners(model, initial(model), ["funcnn", *peers])
    before, after = ([float(run()[1]) for run in runs] for _ in range(2))
    assert before == pytest.approx([before[0]] * len(runs), rel=race.BOUND)
    assert abs(before[0] - after[0]) > 10 * race.BOUND * before[0]  # it does learn
    on_jax = [peer for peer in peers if peer in race.JAX_PEERS]
    assert {cost.what for cost in costs} == {
        f"{peer} {what}" for peer in on_jax for what in ("compile", "temp")
    }


@pytest.mark.parametrize("library", ["funcnn", "pytorch"])
def test_a_step_is_told_by_kinds(library, plain_jax):
    if library not in ["funcnn", *race.installed(["pytorch"])]:
        pytest.skip("PyTorch is not installed")
    found = profile.profile(library, NETWORK, initial(NETWORK))
    whole = found.pop("step")
    assert whole == pytest.approx(sum(found.values()))
    assert set(found) <= set(profile.KINDS)
    for kind in ("convolution", "norm", "activation", "dense", "optimizer"):
        assert found[kind] > 0, kind


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("_attention.py", "attention"),
        ("aten::_scaled_dot_product_flash_attention_for_cpu_backward", "attention"),
        ("_embed.py", "embedding"),
        ("aten::embedding_dense_backward", "embedding"),
        ("_linear_softmax_cross_entropy.py", "loss"),
        ("_dense.py", "dense"),
    ],
)
def test_what_a_transformer_spends_has_a_kind(name, kind):
    assert profile.kind_of(name) == kind


def test_kernels_are_told_by_their_source(plain_jax):
    step = profile.told_in_full(race.trainer("funcnn", POOLED, initial(POOLED)))
    kinds = profile.kernel_kinds(step.as_text())
    products = {kind for name, kind in kinds.items() if "dot" in name or "conv" in name}
    assert products <= {"convolution", "dense"}
    assert {"convolution", "dense", "optimizer", "loss"} <= set(kinds.values())


def test_losses_that_differ_are_seen(plain_jax, monkeypatch):
    """With funcnn for its own peer, given another learning rate."""
    made = race.trainer

    def slower(library, *args):
        with monkeypatch.context() as patch:
            if library == "rival":
                patch.setattr(with_funcnn, "RATE", 5e-4)
            return made("funcnn", *args)

    monkeypatch.setattr(race, "trainer", slower)
    with pytest.raises(race.DivergenceError, match="rival's losses are"):
        race.runners(POOLED, initial(POOLED), ["funcnn", "rival"])


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("mlp", 784 * 512 + 512 * 512 + 512 * 10 + 1034),
        ("cnn", 212_542),
        ("resnet18", 11_178_762),
        ("mobilenetv2", 220_970),
        ("convnext", 1_598_282),
        ("transformer", 7_427_584),
    ],
)
def test_models_are_what_they_are_called(name, parameters):
    model = models.MODELS[name]()
    leaves = jax.tree.leaves(with_funcnn.shapes(model))
    assert sum(math.prod(leaf.shape) for leaf in leaves) == parameters
    network = with_funcnn.serial(model.layers)
    x = jax.ShapeDtypeStruct(model.shape, model.dtype)
    y = jax.eval_shape(network.apply, with_funcnn.shapes(model), x)
    assert y.shape == (*model.labels, model.classes)


def test_parameters_are_the_same_every_time_and_not_zero():
    first, second = initial(POOLED), initial(POOLED)
    jax.tree.map(np.testing.assert_array_equal, first, second)
    assert [sorted(layer) for layer in first] == [["bias", "weight"]] * 2
    assert all(np.std(a) > 0 for a in jax.tree.leaves(first))


STEPS = [
    row("mlp", "flax", 2.0, 0.1, "steps", "batch 1,2"),
    row("mlp", "haiku", 1.0, 0.1, "steps", "batch 1,2"),
    row("mlp", "pytorch", 0.5, 0.1, "steps", "batch 1,2"),
    row("cnn", "flax", 4.0, 0.1, "steps", "batch 3,4"),
]
COSTS = [
    results.Cost("flax compile", 2.0, 1.0, "mlp"),
    results.Cost("haiku compile", 3.0, 1.0, "mlp"),
    results.Cost("flax temp", 2e6, 1e6, "cnn"),
]


def test_best_peers():
    text = step_tables.summary_text(STEPS).splitlines()
    assert text[1].split() == ["mlp", "1.00", "haiku", "0.50"]
    assert text[2].split() == ["cnn", "4.00", "flax", "-"]
    assert text[3].split() == ["mean", "2.00", "0.50"]
    text = step_tables.costs_text(COSTS)
    assert "compile      2000    1000    2.00" in text
    assert "haiku" not in text


def test_step_tables_fit_80_columns():
    text = [step_tables.HEAD, step_tables.model_lines(STEPS[:3]), step_tables.LEGEND]
    text += [step_tables.summary_text(STEPS), step_tables.costs_text(COSTS)]
    assert max(len(line) for part in text for line in part.splitlines()) <= 80


def test_peers_that_are_not_installed_are_told(monkeypatch, capsys):
    monkeypatch.setattr(race, "find_spec", lambda name: None if name == "haiku" else name)
    monkeypatch.setattr(steps_command, "race", lambda *_: (STEPS[:1], COSTS[:1]))
    monkeypatch.setattr(steps_command, "here", lambda packages: {"packages": packages})
    argv = ["steps", "--model", "mlp", "--peer", "haiku", "--peer", "flax"]
    assert command.main(argv) == 0
    out, err = capsys.readouterr()
    assert "mlp  batch 1,2" in out
    assert err == "haiku: not installed\n"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--model", "vgg"], "no model 'vgg'; there are mlp, cnn, resnet18,"),
        (["--peer", "caffe"], "no peer 'caffe'; there are flax, equinox,"),
        (["--peer", "flax"], "not installed: flax"),
        (["--seconds", "-1"], "--seconds is at least 0"),
    ],
)
def test_wrong_requests_of_steps_are_refused(argv, message, monkeypatch, capsys):
    monkeypatch.setattr(race, "find_spec", lambda name: None)
    assert command.main(["steps", *argv]) == 2
    assert message in capsys.readouterr().err


# --- optimizers -----------------------------------------------------------------------

FEW = ["optim", "--parameters", "200", "--small", "3", "--seconds", "0", "--rounds", "1"]


def test_updates_are_compared_with_optax(plain_jax, capsys, tmp_path):
    pytest.importorskip("optax", reason="updates are compared with its")
    file = tmp_path / "run.json"
    argv = [*FEW, "--method", "lion", "--method", "momentum", "--json", str(file)]
    assert command.main(argv) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    run = results.read(file)
    names = ["lion", "momentum"]
    assert [(r.case, r.kind) for r in run.rows] == [
        (n, k) for n in names for k in ("100", "1")
    ]
    assert [(cost.case, cost.what) for cost in run.costs] == [(n, "compile") for n in names]
    assert all(cost.mine > 0 and cost.rival > 0 for cost in run.costs)


@pytest.mark.parametrize("name", optim_command.METHODS)
def test_updates_that_are_timed_are_the_same(name, plain_jax):
    pytest.importorskip("optax", reason="updates are compared with its")
    row = optim_command.timed(name, optim_command.Model(2, 5), 0, 1)
    assert (row.case, row.kind) == (name, "2")


def test_updates_that_differ_are_seen(plain_jax, capsys, monkeypatch):
    pytest.importorskip("optax", reason="updates are compared with its")
    slower = lambda rate, **more: optim_command.optim.chain()  # noqa: E731
    monkeypatch.setattr(optim_command.optim, "lion", slower)
    assert command.main([*FEW, "--small", "0", "--method", "lion"]) == 1
    assert "wrong: lion, 100 leaves: 0000 differs by" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--method", "sgdm"], "no method 'sgdm'; there are adamw, momentum,"),
        (["--rounds", "0"], "--rounds at least 1"),
        (["--parameters", "99"], "--parameters is at least 100"),
        ([], "not installed: optax"),
    ],
)
def test_wrong_requests_of_optim_are_refused(argv, message, monkeypatch, capsys):
    monkeypatch.setattr(optim_command, "find_spec", lambda name: None)
    assert command.main(["optim", *argv]) == 2
    assert message in capsys.readouterr().err


# --- the page -------------------------------------------------------------------------


def test_results_are_put_into_the_page(tmp_path, capsys):
    pytest.importorskip("matplotlib", reason="the picture is drawn by matplotlib")
    shutil.copy(ROOT / "docs/benchmarks.md", tmp_path)
    page = tmp_path / "benchmarks.md"
    before = page.read_text().partition("<!-- what follows")[0].rstrip()
    about = results.here()
    results.write(tmp_path / "ops.json", Run((row(), row(kind="filter")), about))
    results.write(tmp_path / "steps.json", Run(tuple(STEPS), about, tuple(COSTS)))
    files = [str(tmp_path / name) for name in ("ops.json", "steps.json")]
    for _ in range(2):  # the second time the results are replaced
        assert command.main(["page", *files, "--docs", str(tmp_path)]) == 0
    text = page.read_text()
    assert text.startswith(before)
    assert text.count("## Results") == 1
    assert f"with jax {jax.__version__}, on {os.cpu_count()} cores" in text
    assert "| mlp | 1.00 haiku | 0.50 |" in text
    assert (tmp_path / "benchmarks.png").read_bytes().startswith(b"\x89PNG")
    assert command.main(["page", *files, "--docs", str(tmp_path / "none")]) == 2
    assert "there is no page" in capsys.readouterr().err
