"""`python -m funcnn.verify`: what it takes, what it prints, how it exits."""

import io
import json
import os
import re
import subprocess
import sys

import pytest

from funcnn import verify
from funcnn.verify import __main__ as command

USERS = '''
import jax
import jax.numpy as jnp


def with_rule(f, bwd):
    f = jax.custom_vjp(f)
    f.defvjp(lambda *args: (f.fun(*args), args), bwd)
    return f


def definition(x, w):
    return x * w


def scale_bwd(r, dy):
    return dy * r[1], (dy * r[0]).sum(0).astype(r[1].dtype)


scale = with_rule(definition, scale_bwd)
half = with_rule(definition, lambda r, dy: (0.5 * dy * r[1], scale_bwd(r, dy)[1]))


class Model:
    """Its loss is a method, its params are a tree."""

    def lookup(params, ids, mode):
        if mode != "sum":
            raise ValueError(f"lookup knows no mode {mode!r}")
        take = with_rule(
            lambda table: table[ids], lambda r, dy: (jnp.zeros_like(r[0]).at[ids].add(dy),)
        )
        return params["scale"] * take(params["table"])


def mask(x):
    return x > 0


number = 3
'''


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run the command here, where a module `users` can be imported."""
    (tmp_path / "users.py").write_text(USERS)
    (tmp_path / "needy.py").write_text("import no_such_thing")
    (tmp_path / "rough.py").write_text("import users\nusers.number / 0")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield lambda *args: (command.main(list(args)), *capsys.readouterr())
    for name in ("users", "needy", "rough"):
        sys.modules.pop(name, None)


def outside(folder, *args, **env):
    """Run it as a user does, from any folder."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("JAX_", "PYTEST_"))}
    done = subprocess.run(
        [sys.executable, "-m", "funcnn.verify", *args],
        cwd=folder,
        env=clean | {"JAX_PLATFORMS": "cpu"} | env,
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout, done.stderr


# --- ops ------------------------------------------------------------------------------


def test_ops_are_named_in_either_way(run):
    status, out, err = run("relu", "--claims", "rule,types", "--op", "mse", "relu")
    lines = out.splitlines()
    assert status == 0
    assert lines[0].split() == ["rule", "types"]
    assert [line.split() for line in lines[1:3]] == [
        ["relu", "ok", "ok"],
        ["mse", "ok", "ok"],
    ]
    assert lines[3].startswith("2 ops, ")
    assert lines[3].endswith("all hold.")
    assert re.fullmatch(r"Took \d+ s\. For what is claimed, see --help\.\n", err)


def test_no_op_is_all_ops(monkeypatch, run):
    asked = []
    monkeypatch.setattr(
        command, "check_ops", lambda names, *_: asked.append(names) or verify.Report("", ())
    )
    assert run()[0] == 0
    assert asked == [[op.name for op in verify.discover()]]


def test_what_is_asked_for_is_handed_on(monkeypatch, run):
    asked = []
    monkeypatch.setattr(
        command, "check_ops", lambda *all: asked.append(all) or verify.Report("", ())
    )
    run("mse", "--seed", "7", "--fail-fast", "--claims", "vjp diff")
    assert asked == [(["mse"], 7, command.show, ["vjp", "diff"], True)]


@pytest.mark.parametrize("fail_fast", [True, False])
def test_time_is_told_op_by_op(monkeypatch, run, fail_fast):
    def check_ops(names, *_):
        failure = "it is wrong" if names == ["mse"] else None
        rows = [verify.Row(names[0], case, "vjp", 0.0, failure) for case in ("a", "b")]
        return verify.Report("", tuple(rows), ("The same.",))

    monkeypatch.setattr(command, "check_ops", check_ops)
    status, out, err = run("relu", "mse", "elu", "--time", *["--fail-fast"] * fail_fast)
    asked = ["relu", "mse"] + ["elu"] * (not fail_fast)
    assert status == 1
    assert re.findall(r"^ *\d+\.\d s  (\w+)$", err, re.M) == asked
    assert [line.split()[0] for line in out.splitlines()[1 : 1 + len(asked)]] == asked
    assert f"{len(asked)} ops, {2 * len(asked)} cases: {2 * len(asked)} claims, 2 do" in out
    assert out.count("Note: The same.") == 1


def test_progress_is_one_line_of_a_terminal(monkeypatch, capsys):
    command.show(1, 2)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    command.show(1, 2)
    command.show(2, 2)
    assert capsys.readouterr().err == "\r\033[K1 of 2\r\033[K"


# --- functions ------------------------------------------------------------------------


def test_a_function_with_a_right_rule(run):
    status, out, _ = run(
        "users:scale", "--reference", "users:definition", "--args", "f32[4,8] f32[8]"
    )
    assert status == 0, out
    assert out.startswith("scale  ok\nrule ")
    assert f"scale: {len(verify.CLAIMS)} claims, all hold." in out
    assert max(map(len, out.splitlines())) <= 80


def test_a_function_with_a_wrong_rule(run):
    status, out, _ = run("users:half", "--args", "f32[4,8] f32[8]", "--claims", "vjp,value")
    assert status == 1
    assert out.startswith("half  FAIL\n")
    told = re.findall(r"^(\w+) +(ok|FAIL)\b", out, re.M)
    assert sorted(told) == [("half", "FAIL"), ("value", "ok"), ("vjp", "FAIL")]
    assert "half: the cotangent of x" in out


def test_a_reference_is_the_judge(run):
    args = ("--args", "f32[4,8] f32[8]", "--claims", "value")
    assert run("users:scale", *args, "--reference", "users:definition")[0] == 0
    status, out, _ = run("users:scale", *args, "--reference", "jax.numpy:add")
    assert status == 1
    assert "value" in out


def test_trees_indices_and_static_arguments(run):
    spec = "{'table': f32[5,2], 'scale': f32[]} i32[3]<5 'sum'"
    status, out, _ = run("users:Model.lookup", "--args", spec, "--claims", "rule,vjp,diff")
    assert status == 0, out
    assert out.startswith("Model.lookup  ok")


def test_a_function_that_raises_fails(run):
    spec = "{'table': f32[5,2], 'scale': f32[]} i32[3]<5 'mean'"
    status, out, _ = run("users:Model.lookup", "--args", spec)
    assert status == 1
    assert "ValueError: lookup knows no mode 'mean'" in " ".join(out.split())
    assert out.count("knows no mode") == 1


def test_a_function_without_a_gradient_fails(run):
    status, out, _ = run("users:mask", "--args", "f32[3]")
    assert status == 1
    assert "mask has no floating-point array in its output" in " ".join(out.split())


def test_the_seed_is_that_of_the_arguments(monkeypatch, run):
    from funcnn.verify.command import _find_function

    seen = []

    def check_vjp(f, *args, **_):
        seen.append(float(args[0]))
        return verify.Report("", ())

    monkeypatch.setattr(_find_function, "check_vjp", check_vjp)
    for seed in ("0", "0", "1"):
        run("users:scale", "--args", "f32[]", "--seed", seed)
    assert seen[0] == seen[1] != seen[2]


# --- misuse ---------------------------------------------------------------------------

ARGS = ("--args", "f32[3]")


@pytest.mark.parametrize(
    "args, why",
    [
        (["rellu"], "there is no op 'rellu'; did you mean relu"),
        (["--op", "x", "relu"], "there is no op 'x'; there are attention, .*, relu, "),
        (["relu", "--claims", "vpj"], "there is no claim 'vpj'; did you mean vjp"),
        (["relu", "--seed", "-1"], "at least 0; got -1"),
        (["relu", "users:scale", *ARGS], "not both"),
        (["users:half", "users:scale", *ARGS], "not several"),
        (["users:half", "--op", "relu", *ARGS], "not both"),
        (["relu", *ARGS], "--args and --reference are for a module:function"),
        (["--args", ""], "--args and --reference are for a module:function"),
        (["--reference", "users:scale"], "--args and --reference are for"),
        (["users:scale"], "users:scale needs --args, such as"),
        (["users:scale", "--args", "i32[3] 0.5"], "no array of floats"),
        (["users:sclae", *ARGS], "users has no sclae; did you mean scale"),
        (["users:Model.look", *ARGS], "users has no Model.look; did you mean lookup"),
        (["users:number", *ARGS], "users:number cannot be called: it is of type int"),
        (
            ["users:scale", *ARGS, "--reference", "users:x"],
            "users has no x; there are Model, ",
        ),
        (
            ["users:scale", *ARGS, "--reference", "definition"],
            "'definition' is no module:fun",
        ),
        ([":scale", *ARGS], "':scale' is no module:function"),
        (["users:", *ARGS], "'users:' is no module:function"),
        (["uzers:scale", *ARGS], "cannot import uzers: .*No module named 'uzers'$"),
        (
            ["needy:f", *ARGS],
            r"cannot import needy: .*'no_such_thing' \(needy.py, line 1\)",
        ),
        (["rough:f", *ARGS], r"ZeroDivisionError: division by zero \(rough.py, line 2\)"),
        (["./some/users.py:scale", *ARGS], "is a path; .* as in some.users:scale"),
        (["users:scale", *ARGS, "--matrix"], "are for ops"),
        (["relu", "--costs", "--json"], "--costs is not to be had as --json"),
    ],
)
def test_misuse_is_told(run, args, why):
    status, out, err = run(*args)
    assert (status, out) == (2, "")
    assert err.startswith("error: ")
    assert re.search(why, " ".join(err.split()))
    assert max(map(len, err.splitlines())) <= 80


def test_arguments_that_cannot_be_read_are_pointed_at(run):
    status, _, err = run("users:scale", "--args", "f32[4,8] f33[8]")
    assert status == 2
    assert err.splitlines()[-2:] == ["  f32[4,8] f33[8]", "           ^^^^^^"]
    assert "error: --args: cannot read f33[8]: there is no dtype f33" in err


@pytest.mark.parametrize("pair", [["--json", "--markdown"], ["--matrix", "--costs"]])
def test_one_of_two(run, pair):
    with pytest.raises(SystemExit) as exit:
        run("relu", *pair)
    assert exit.value.code == 2


# --- output ---------------------------------------------------------------------------


def test_json_is_all_there_is_on_stdout(run):
    status, out, err = run("users:half", "--args", "f32[2,3] f32[3]", "--json")
    found = json.loads(out)
    assert status == 1
    assert (found["title"], found["ok"]) == ("half", False)
    assert [row["claim"] for row in found["rows"]] == list(verify.CLAIMS)
    assert "Took" in err


def test_markdown_is_all_there_is_on_stdout(run):
    _, out, _ = run("relu", "mse", "--claims", "rule", "--markdown", "--time")
    assert out.splitlines()[:4] == [
        "|  | `rule` |", "| --- | --- |", "| `relu` | ok |", "| `mse` | ok |",
    ]  # fmt: skip
    assert len(out.splitlines()) == 6


@pytest.mark.parametrize(
    "choice, terminal, no_color, colored",
    [
        ("auto", True, None, True),
        ("auto", False, None, False),
        ("auto", True, "1", False),
        ("auto", True, "", True),
        ("always", False, "1", True),
        ("never", True, None, False),
    ],
)
def test_colour_is_for_terminals(monkeypatch, choice, terminal, no_color, colored):
    stdout = io.StringIO()
    stdout.isatty = lambda: terminal
    monkeypatch.setattr(sys, "stdout", stdout)
    monkeypatch.delenv("NO_COLOR", raising=False)
    if no_color is not None:
        monkeypatch.setenv("NO_COLOR", no_color)
    assert command.main(["relu", "--claims", "rule", "--color", choice]) == 0
    assert ("\033[32m" in stdout.getvalue()) == colored


def test_costs(run):
    status, out, _ = run("relu", "dense", "--costs")
    assert status == 0
    assert [line.split()[0] for line in out.splitlines()[1:3]] == ["relu", "dense"]
    assert "| relu |" in run("relu", "--costs", "--markdown")[1]


# --- from any folder ------------------------------------------------------------------


def test_it_runs_from_the_users_folder(tmp_path):
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "rules.py").write_text(USERS)
    args = ("--args", "f32[4,8] bf16[8]>0", "--claims", "rule,value,diff")
    status, out, err = outside(tmp_path, "package.rules:scale", *args)
    assert status == 0, out + err
    assert out.startswith("scale  ok\n")
    assert err.startswith("Took")
    assert len(err.splitlines()) == 1
    assert outside(tmp_path, "package.rules:half", *args)[0] == 1


def test_the_matrix(tmp_path):
    status, out, err = outside(tmp_path, "relu", "--matrix")
    assert status == 0, out + err
    assert re.search(r"^relu( +ok)+$", out, re.M)


def test_the_help_tells_the_claims_and_the_grammar(tmp_path):
    status, out, _ = outside(tmp_path, "--help")
    assert status == 0
    assert max(map(len, out.splitlines())) <= 80
    for name in verify.CLAIMS:
        assert re.search(rf"^  {name} ", out, re.M)
    for form in ("f32[4,8]", "i32[4]<10", "f32[4]>0<1", "key", "'SAME'", "module:function"):
        assert form in out
