"""Checkpoints: whole or not there, and a run that goes on ends with the same bits."""

import os
import re
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnn import layers, losses, optim, train
from funcnn.train.checkpoints._fingerprint import fingerprint

pytest.importorskip("orbax.checkpoint", reason="it writes checkpoints: funcnn[train]")

# TensorStore tells an event loop of all that failed, which Orbax closes at the first.
pytestmark = pytest.mark.filterwarnings(
    "ignore:(?s)Exception ignored in. None.*Event loop is closed:"
    "pytest.PytestUnraisableExceptionWarning"
)

ROOT = Path(__file__).parents[3]
KEY = jax.random.key(5)
X = np.random.default_rng(0).standard_normal((40, 6))
DATA = (X, X[:, 0].astype(np.int32) % 3)


def model(hidden=8):
    return layers.Serial(
        stem=layers.Dense(hidden), drop=layers.Dropout(0.3), head=layers.Dense(3)
    )


def start(hidden=8, optimizer=None, key=KEY):
    return train.init(key, model(hidden), optimizer or optim.adam(0.01), (1, 6))


@jax.jit
def step(state, batch):
    def loss(params, batch, key):
        x, labels = batch
        logits = model().apply(params, x, key=key)
        return losses.softmax_cross_entropy(logits, labels)

    return train.make_step(loss, optim.adam(0.01))(state, batch)


donating = jax.jit(step, donate_argnums=0)


def at(count, state=None):
    """A state that says it is of a step."""
    state = start() if state is None else state
    params = jax.tree.map(lambda a: a + count, state.params)
    return state._replace(step=jnp.asarray(count, jnp.int32), params=params)


def batches():
    return train.batches(DATA, 8, key=KEY)


def bits(tree):
    def numbers(a):
        a = jax.random.key_data(a) if jnp.issubdtype(a.dtype, jax.dtypes.prng_key) else a
        return np.array(a, copy=True)

    return jax.tree.map(numbers, tree)


def assert_same_bits(got, want):
    assert jax.tree.structure(got) == jax.tree.structure(want)
    for a, b in zip(jax.tree.leaves(bits(got)), jax.tree.leaves(bits(want)), strict=True):
        assert (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())


def exactly(message):
    return f"^{re.escape(message)}$"


# What comes back


@pytest.mark.parametrize("key", [KEY, jax.random.PRNGKey(5), jax.random.key(5, impl="rbg")])
def test_a_run_that_goes_on_ends_with_the_same_bits(tmp_path, key):
    want, data = start(key=key), batches()
    for _ in range(12):
        want, _ = step(want, next(data))

    state, data = start(key=key), train.prefetch(batches(), 3)
    with train.Checkpoints(tmp_path / "run") as checkpoints:
        assert checkpoints.latest() is None
        for _ in range(7):
            state, _ = step(state, next(data))
        checkpoints.save(state, data)
    with train.Checkpoints(tmp_path / "run") as checkpoints:
        assert checkpoints.latest() == 7
        data = train.prefetch(batches(), 2)
        like = jax.eval_shape(lambda: start(key=key))
        state = checkpoints.restore(like, data)
    assert_same_bits(state.key, want.key)
    for _ in range(5):
        state, _ = step(state, next(data))
    assert_same_bits(state, want)


def test_every_kind_of_leaf_comes_back(tmp_path):
    names = "bool int8 uint16 int64 float16 bfloat16 float32 float64 complex64 float8_e5m2"
    arrays = {n: jnp.asarray([[0, 1, 2]] * 2).astype(n) for n in names.split()}
    hard = jnp.asarray([0.0, -0.0, np.inf, np.nan, 5e-324])
    params = {
        "a": arrays,
        "list": [jnp.float32(1), (hard, None, {})],
        "empty": jnp.zeros((0, 3)),
        "host": np.arange(3.0),
        "number": 2.5,
        "keys": jax.random.split(jax.random.key(1, impl="rbg"), 4),
    }
    state = train.TrainState(
        jnp.int32(1), params, optim.adam(0.1).init(arrays["float32"]), KEY
    )
    with train.Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(state)
        back = checkpoints.restore(state)
    assert all(isinstance(a, jax.Array) for a in jax.tree.leaves(back))
    assert back.params["keys"].dtype == params["keys"].dtype
    assert_same_bits(back, jax.tree.map(jnp.asarray, state))


def test_what_comes_back_compiles_nothing_anew(tmp_path):
    state, data = start(), batches()
    state, _ = donating(state, next(data))
    with train.Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(state)
        back = checkpoints.restore(state)
    assert not back.params["stem"]["weight"].committed
    count = donating._cache_size()
    donating(back, next(data))
    assert donating._cache_size() == count


def test_a_save_is_not_touched_by_the_steps_after_it(tmp_path):
    """Its thread is still writing when the donated steps have run."""
    x = jax.random.normal(KEY, (2**21,), jnp.float32)
    state = train.TrainState(jnp.int32(0), {"a": x, "b": x + 1}, (), jax.random.key(1))
    spoil = jax.jit(
        lambda s: s._replace(params=jax.tree.map(lambda a: -a, s.params)), donate_argnums=0
    )
    want = bits(state)
    with train.Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(state)
        for _ in range(3):
            state = spoil(state)
        jax.block_until_ready(state)
        back = checkpoints.restore(state)
    assert_same_bits(bits(back), want)


# Which are kept


def kept(directory):
    return sorted(int(p.name) for p in Path(directory).iterdir())


@pytest.mark.parametrize("keep, want", [(1, [5]), (2, [4, 5]), (None, [1, 2, 3, 4, 5])])
def test_the_last_are_kept(tmp_path, keep, want):
    with train.Checkpoints(tmp_path, keep=keep) as checkpoints:
        for i in range(1, 6):
            checkpoints.save(at(i))
            assert checkpoints.latest() in (i - 1 or None, i)
    assert kept(tmp_path) == want


@pytest.mark.parametrize(
    "mode, values, want",
    [
        ("min", [3.0, 1.0, 2.0, 4.0], [2, 3, 4]),
        ("max", [9.0, 1.0, 2.0, 4.0], [1, 3, 4]),
        ("min", [5.0, np.nan, 6.0, 7.0], [1, 3, 4]),
        ("max", [5.0, np.nan, np.nan, np.nan], [1, 3, 4]),
        ("min", [5.0, 1.0, None, None], [2, 3, 4]),
        ("max", [1.0, 1.0, 2.0, 4.0], [3, 4]),
    ],
)
def test_the_best_is_kept_too(tmp_path, mode, values, want):
    with train.Checkpoints(tmp_path, keep=2, best="loss", mode=mode) as checkpoints:
        assert checkpoints.best() is None
        for i, value in enumerate(values, 1):
            metrics = None if value is None else {"loss": jnp.asarray(value), "other": 1}
            checkpoints.save(at(i), metrics=metrics)
        best = checkpoints.best()
    assert kept(tmp_path) == want
    pick = np.nanargmin if mode == "min" else np.nanargmax
    assert best == pick([np.nan if v is None else v for v in values]) + 1
    with train.Checkpoints(tmp_path, keep=2, best="loss", mode=mode) as checkpoints:
        assert checkpoints.best() == best
        assert_same_bits(checkpoints.restore(at(0), step=best).params, at(best).params)


def test_a_step_that_is_there_is_not_written_again(tmp_path):
    with train.Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(at(3))
        checkpoints.wait()
        written = (tmp_path / "3").stat().st_mtime_ns
        checkpoints.save(at(3))
        checkpoints.wait()
        assert (tmp_path / "3").stat().st_mtime_ns == written
        with pytest.raises(
            ValueError,
            match=exactly(
                f"Checkpoints.save needs a step after 3, the latest in {tmp_path}; got 2. "
                "To go back, remove later ones."
            ),
        ):
            checkpoints.save(at(2))


def test_what_a_killed_save_left_is_removed_by_the_next_and_read_by_none(tmp_path):
    with train.Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(at(1))
    left = tmp_path / "9.orbax-checkpoint-tmp"
    (left / "state").mkdir(parents=True)
    with train.Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.latest() == 1
        checkpoints.restore(at(0))
        assert left.exists()  # another process may be writing it
        checkpoints.save(at(2))
    assert kept(tmp_path) == [1, 2]


def test_other_things_in_the_directory_are_left_alone(tmp_path):
    (tmp_path / "log.jsonl").write_text("{}")
    (tmp_path / "events").mkdir()
    with train.Checkpoints(tmp_path, keep=1) as checkpoints:
        assert checkpoints.latest() is None
        checkpoints.save(at(1))
        checkpoints.save(at(2))
        checkpoints.wait()
        assert checkpoints.latest() == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == ["2", "events", "log.jsonl"]


# What goes wrong


def large(count):
    x = jax.random.normal(jax.random.key(count), (2**16,), jnp.float32)
    return train.TrainState(jnp.int32(count), {"w": x}, (), KEY)


FULL = """
import resource, sys
from pathlib import Path
import jax, jax.numpy as jnp, numpy as np
from funcnn import train

def state(count):
    x = jax.random.normal(jax.random.key(count), (2**16,), jnp.float32)
    return train.TrainState(jnp.int32(count), {"w": x}, (), jax.random.key(0))

def read(checkpoints, step):
    back = checkpoints.restore(state(0))
    assert back.step == step
    np.testing.assert_array_equal(back.params["w"], state(step).params["w"])

def fails(call, *arguments):
    try:
        call(*arguments)
    except OSError as error:
        return str(error)

most = resource.getrlimit(resource.RLIMIT_FSIZE)
for name in ("wait", "save", "restore", "close", "best"):
    directory = Path(sys.argv[1], name)
    checkpoints = train.Checkpoints(directory, keep=1, best="loss")
    checkpoints.save(state(1), metrics={"loss": 1})
    checkpoints.wait()
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, most[1]))  # no file may be longer
    arguments = {"save": (state(3),), "restore": (state(0),)}.get(name, ())
    message = fails(checkpoints.save, state(2), None, {"loss": 2})
    message = message or fails(getattr(checkpoints, name), *arguments)
    resource.setrlimit(resource.RLIMIT_FSIZE, most)
    start = f"Checkpoints could not save step 2 in {directory}: "
    assert message.startswith(start), message
    assert "File too large" in message, message
    assert message.endswith(" Step 1 is whole."), message
    if name == "close":
        checkpoints = train.Checkpoints(directory, keep=1, best="loss")
    assert checkpoints.latest() == 1
    read(checkpoints, 1)
    checkpoints.save(state(4), metrics={"loss": 0})
    read(checkpoints, 4)
    checkpoints.close()
    assert [p.name for p in directory.iterdir()] == ["4"], [*directory.iterdir()]
"""


def python(program, *arguments, **environment):
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, *map(str, arguments)],
        env=os.environ | {"JAX_PLATFORMS": "cpu", "JAX_ENABLE_X64": "1"} | environment,
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=60,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_a_disk_that_fails_is_told_by_the_next_call(tmp_path):
    """And the checkpoints before it, as well as those after it, are whole."""
    python(FULL, tmp_path)


def test_a_directory_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=rf"^Checkpoints cannot make {tmp_path}/file/run: .*"):
        train.Checkpoints(tmp_path / "file/run")


GONE = """
import sys
from pathlib import Path
import jax, jax.numpy as jnp
from funcnn import train

directory = Path(sys.argv[1]) / "run"
state = train.TrainState(jnp.int32(1), {}, (), jax.random.key(0))
checkpoints = train.Checkpoints(directory)
checkpoints.save(state)
checkpoints.wait()
directory.rename(directory.with_name("moved"))
directory.touch()
try:
    checkpoints.save(state._replace(step=state.step + 1))
except OSError as error:
    print(error)
"""


def test_a_directory_that_is_gone(tmp_path):
    """The process ends, too: none of Orbax's threads is left waiting."""
    told = python(GONE, tmp_path)
    assert told.startswith(f"Checkpoints could not save step 2 in {tmp_path / 'run'}: ")
    assert told.endswith(" There is none before it.\n")


@pytest.mark.parametrize(
    "other, message",
    [
        (
            lambda: start(9),
            "params.head.weight is float32 of shape (8, 3) there and float32 of shape "
            "(9, 3) in like; params.stem.bias is float32 of shape (8,) there and float32 "
            "of shape (9,) in like; params.stem.weight is float32 of shape (6, 8) there "
            "and float32 of shape (6, 9) in like; and 6 more.",
        ),
        (
            lambda: start(optimizer=optim.sgd(0.1)),
            "opt_state.mu.head.bias is float32 of shape (3,) there and missing in like; "
            "opt_state.mu.head.weight is float32 of shape (8, 3) there and missing in ",
        ),
        (
            lambda: start()._replace(params={"a": jnp.ones(3)}),
            "params.a is missing there and float64 of shape (3,) in like; ",
        ),
        (
            lambda: start()._replace(step=jnp.int64(1)),
            "step is int32 of shape () there and int64 of shape () in like.",
        ),
        (
            lambda: start()._replace(key=jax.random.key(0, impl="rbg")),
            "key is key<fry> of shape () there and key<rbg> of shape () in like.",
        ),
    ],
)
def test_a_checkpoint_of_another_model(tmp_path, other, message):
    data = batches()
    with train.Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(at(1), data)
        next(data)
        start_of_message = (
            f"Checkpoints.restore needs step 1 in {tmp_path} to hold what like does; "
        )
        with pytest.raises(ValueError, match=f"^{re.escape(start_of_message + message)}"):
            checkpoints.restore(jax.eval_shape(other), data)
    assert data.get_state()["batches"] == 1


def damage(path, how):
    content = path.read_bytes()
    if how == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif how == "changed":
        middle = len(content) // 2
        path.write_bytes(
            content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
        )
    else:
        path.unlink()


def largest(directory):
    return max(
        (p for p in directory.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size
    )


@pytest.mark.parametrize("how", ["cut", "changed", "gone"])
@pytest.mark.parametrize("what", ["numbers", "about"])
def test_a_damaged_checkpoint_is_an_error_that_names_a_whole_one(tmp_path, how, what):
    with train.Checkpoints(tmp_path, keep=None) as checkpoints:
        for i in (1, 2, 3, 4):
            checkpoints.save(large(i))
    for i in (3, 4):
        root = tmp_path / str(i)
        damage(root / "about/metadata" if what == "about" else largest(root), how)
    with train.Checkpoints(tmp_path) as checkpoints:
        advice = f"Step 2 is whole: remove {tmp_path / '4'} to go on from there."
        with pytest.raises(
            OSError,
            match=f"^Checkpoints cannot read step 4 in {tmp_path}: .* {re.escape(advice)}$",
        ):
            checkpoints.restore(large(0))
        assert_same_bits(checkpoints.restore(large(0), step=2), large(2))
        for i in (1, 2):
            damage(largest(tmp_path / str(i)), how)
        with pytest.raises(OSError, match=r" None before it is whole\.$"):
            checkpoints.restore(large(0))


def test_a_place_of_the_data_that_has_changed(tmp_path):
    """It still is JSON, and a state that data takes."""
    data = batches()
    next(data)
    with train.Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(at(1), data)
        checkpoints.wait()
        about = tmp_path / "1/about/metadata"
        content = about.read_bytes()
        about.write_bytes(content.replace(b'batches\\": 1', b'batches\\": 2'))
        assert about.read_bytes() != content
        with pytest.raises(OSError, match="what it says about itself has changed"):
            checkpoints.restore(at(0), data)
    assert data.get_state()["batches"] == 1


def test_no_checkpoint_at_all(tmp_path):
    with train.Checkpoints(tmp_path) as checkpoints:
        with pytest.raises(
            FileNotFoundError, match=exactly(f"Checkpoints finds none in {tmp_path}.")
        ):
            checkpoints.restore(start())
        checkpoints.save(at(1))
        with pytest.raises(
            FileNotFoundError,
            match=exactly(f"Checkpoints finds no step 2 in {tmp_path}; got [1]."),
        ):
            checkpoints.restore(start(), step=2)


class Odd:
    """Data whose state does not fit into JSON."""

    def get_state(self):
        return {"place": b"1"}


@pytest.mark.parametrize(
    "call, error, message",
    [
        (
            lambda c: c.save(at(1), Odd()),
            TypeError,
            "Checkpoints.save needs a state of data that fits into JSON; "
            "Object of type bytes is not JSON serializable.",
        ),
        (
            lambda c: c.save(at(1), []),
            TypeError,
            "Checkpoints.save needs data with get_state; got list.",
        ),
        (
            lambda c: c.save(at(1), metrics={"accuracy": 1.0}),
            ValueError,
            "Checkpoints.save needs metrics with 'loss', the best's; got ['accuracy'].",
        ),
        (
            lambda c: c.save(at(1)._replace(params={"a.b": KEY, "a": {"b": KEY}})),
            ValueError,
            "Checkpoints.save needs leaves of different names; got two params.a.b.",
        ),
        (
            lambda c: (c.save(at(1)), c.restore(at(1), batches())),
            ValueError,
            "Checkpoints.restore needs data in step 1 in {}; got none.",
        ),
        (
            lambda c: train.Checkpoints("none", keep=0),
            ValueError,
            "Checkpoints needs keep of at least 1; got 0.",
        ),
        (
            lambda c: train.Checkpoints("none", mode="best"),
            ValueError,
            "Checkpoints needs mode 'min' or 'max'; got 'best'.",
        ),
    ],
)
def test_wrong_use(tmp_path, call, error, message):
    checkpoints = train.Checkpoints(tmp_path, best="loss")
    with pytest.raises(error, match=exactly(message.format(tmp_path))):
        call(checkpoints)
    checkpoints.close()


def test_metrics_of_several_numbers(tmp_path):
    checkpoints = train.Checkpoints(tmp_path)
    with pytest.raises(TypeError, match=r"^Checkpoints.save needs metrics of numbers; "):
        checkpoints.save(at(1), metrics={"loss": jnp.ones(3)})
    checkpoints.close()


def test_without_orbax(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "orbax.checkpoint", None)
    with pytest.raises(
        ImportError, match=exactly("Checkpoints needs Orbax: pip install 'funcnn[train]'.")
    ):
        train.Checkpoints(tmp_path)


# Other devices

ELSEWHERE = """
import sys
import jax, jax.numpy as jnp, numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
from funcnn import optim, train

directory, job = sys.argv[1:]
mesh = jax.make_mesh((4, 2), ("data", "model"), axis_types=(AxisType.Auto,) * 2)

def place(a):
    spec = P("data", "model") if a.ndim == 2 else P()
    return NamedSharding(mesh, spec)

def start():
    params = {"w": jnp.arange(64.0).reshape(8, 8), "b": jnp.zeros(3, jnp.bfloat16)}
    keys = {"keys": jax.random.split(jax.random.key(1), 8)}
    opt_state = optim.adam(0.1).init(params)
    return train.TrainState(jnp.int32(5), params | keys, opt_state, jax.random.key(7))

state = jax.jit(start)()
shardings = jax.tree.map(place, state)
shardings.params["keys"] = NamedSharding(mesh, P("data"))
assert len(jax.devices()) == 8
with train.Checkpoints(directory) as checkpoints:
    if job == "save":
        checkpoints.save(jax.device_put(state, shardings))
    else:
        like = jax.tree.map(
            lambda a, s: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=s),
            state,
            shardings,
        )
        back = checkpoints.restore(like)
        assert jax.tree.map(lambda a: a.sharding, back) == shardings
        for a, b in zip(jax.tree.leaves(back), jax.tree.leaves(state), strict=True):
            if jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
                a, b = map(jax.random.key_data, (a, b))
            np.testing.assert_array_equal(a, b)
        assert back.params["w"].addressable_shards[0].data.shape == (2, 4)
"""


@pytest.mark.parametrize("job", ["save", "restore"])
def test_from_and_to_eight_devices(tmp_path, job):
    def start():
        params = {"w": jnp.arange(64.0).reshape(8, 8), "b": jnp.zeros(3, jnp.bfloat16)}
        keys = {"keys": jax.random.split(jax.random.key(1), 8)}
        opt_state = optim.adam(0.1).init(params)
        return train.TrainState(jnp.int32(5), params | keys, opt_state, jax.random.key(7))

    state = start()
    if job == "restore":
        with train.Checkpoints(tmp_path) as checkpoints:
            checkpoints.save(state)
    flags = "--xla_force_host_platform_device_count=8"
    python(ELSEWHERE, tmp_path, job, XLA_FLAGS=flags)
    if job == "save":
        with train.Checkpoints(tmp_path) as checkpoints:
            assert_same_bits(checkpoints.restore(state), state)
            assert_same_bits(checkpoints.restore(jax.eval_shape(start)), state)


# Killed


def test_killed_runs_go_on_with_the_same_bits():
    """Three times here; `python tests/support/killed_runs.py --kills 20` does more."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("JAX_")}
    run = subprocess.run(
        [sys.executable, ROOT / "tests/support/killed_runs.py", "--kills", "3"],
        env=clean | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert re.search(r"^3 kills, [123] inside a save: the same bits", run.stdout, re.M)


# Fingerprints


@pytest.mark.parametrize("dtype", ["bool", "int4", "uint8", "bfloat16", "float32", "int64"])
def test_a_fingerprint_is_of_all_bits_and_their_places(dtype):
    a = jnp.asarray(np.arange(24).reshape(2, 3, 4) % 2).astype(dtype)
    whole = fingerprint(a)
    assert whole.dtype == jnp.uint32
    assert fingerprint(a.copy()) == whole
    others = [a[:, :, ::-1]]
    for i in np.ndindex(2, 3, 4):
        b = np.array(a)
        b[i] = not b[i]
        others.append(jnp.asarray(b))
    prints = [int(fingerprint(b)) for b in others]
    assert len({int(whole), *prints}) == 1 + len(others)


def test_a_fingerprint_tells_zeros_keys_and_imaginary_parts_apart():
    def differ(a, b):
        return fingerprint(a) != fingerprint(b)

    assert differ(jnp.zeros(2), -jnp.zeros(2))
    assert differ(jax.random.key(0), jax.random.key(1))
    assert differ(jnp.asarray(1 + 2j), jnp.asarray(1 + 3j))
    assert differ(jnp.asarray(1.0), jnp.asarray(1 + 2.0**-52))
    assert fingerprint(jnp.zeros((0, 3))) == 0
