"""Checkpoints come back to the bit, and those are kept that are to be."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnn import optim, train
from tests.support.saved_states import (
    KEY,
    assert_same_bits,
    at,
    batches,
    bits,
    donating,
    exactly,
    start,
    step,
)

pytest.importorskip("orbax.checkpoint", reason="it writes checkpoints: funcnn[train]")

# TensorStore tells an event loop of all that failed, which Orbax closes at the first.
pytestmark = pytest.mark.filterwarnings(
    "ignore:(?s)Exception ignored in. None.*Event loop is closed:"
    "pytest.PytestUnraisableExceptionWarning"
)


# What comes back


@pytest.mark.parametrize(
    "key",
    [
        KEY,
        jax.random.key(5, impl="rbg"),
        pytest.param(jax.random.PRNGKey(5), marks=pytest.mark.exhaustive),
    ],
)
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


@pytest.mark.parametrize(
    "keep, want",
    [
        pytest.param(1, [5], marks=pytest.mark.exhaustive),
        (2, [4, 5]),
        (None, [1, 2, 3, 4, 5]),
    ],
)
def test_the_last_are_kept(tmp_path, keep, want):
    with train.Checkpoints(tmp_path, keep=keep) as checkpoints:
        for i in range(1, 6):
            checkpoints.save(at(i))
            assert checkpoints.latest() in (i - 1 or None, i)
    assert kept(tmp_path) == want


@pytest.mark.parametrize(
    "mode, values, want",
    [
        ("min", [5.0, np.nan, 6.0, 7.0], [1, 3, 4]),
        ("max", [9.0, 1.0, 2.0, 4.0], [1, 3, 4]),
        ("min", [5.0, 1.0, None, None], [2, 3, 4]),
        *(
            pytest.param(*case, marks=pytest.mark.exhaustive)
            for case in [
                ("min", [3.0, 1.0, 2.0, 4.0], [2, 3, 4]),
                ("max", [5.0, np.nan, np.nan, np.nan], [1, 3, 4]),
                ("max", [1.0, 1.0, 2.0, 4.0], [3, 4]),
            ]
        ),
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
