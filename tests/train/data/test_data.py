"""Where data is, data on its device ahead of use, and data of mean 0 and deviation 1."""

import itertools
import json
import operator
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnn import train

KEY = jax.random.key(3)
STATE = {"batches": 2, "batch_size": 4, "examples": 23, "key": [0, 3]}


def made(n=23, batch_size=4, key=KEY, epochs=None):
    x = np.arange(n)
    return train.batches(
        {"x": x, "y": (x[:, None] * [1, 2],)}, batch_size, key=key, epochs=epochs
    )


def taken(data, count=None):
    return [np.asarray(b["x"]).tolist() for b in itertools.islice(data, count)]


def through_json(state):
    return json.loads(json.dumps(state))


# Batches


@pytest.mark.parametrize("key", [KEY, jax.random.PRNGKey(3)])
@pytest.mark.parametrize("stop", [0, 1, 4, 5, 6, 12])  # five batches an epoch
def test_batches_go_on_from_any_state(stop, key):
    whole = taken(made(key=key), 17)
    data = made(key=key)
    assert taken(data, stop) == whole[:stop]
    state = through_json(data.get_state())
    anew = made(key=key)
    anew.set_state(state)
    assert taken(anew, 17 - stop) == whole[stop:]
    assert taken(data, 2) == whole[stop : stop + 2]
    data.set_state(state)  # back again
    assert taken(data, 17 - stop) == whole[stop:]


def test_a_state_is_apart_from_its_batches():
    data = made()
    taken(data, 2)
    state = data.get_state()
    assert state == STATE
    kept = through_json(state)
    next(data)
    assert state == kept != data.get_state()


def test_a_run_made_longer_goes_on_and_one_made_shorter_is_over():
    whole = taken(made(), 15)
    data = made(epochs=2)
    assert taken(data) == whole[:10]
    longer, shorter = made(epochs=3), made(epochs=1)
    longer.set_state(data.get_state())
    shorter.set_state(data.get_state())
    assert operator.length_hint(longer) == 5
    assert taken(longer) == whole[10:]
    assert operator.length_hint(shorter) == 0
    assert taken(shorter) == []


@pytest.mark.parametrize(
    "other, message",
    [
        ({"batch_size": 5}, "batch_size 5; got 4."),
        ({"n": 24}, "examples 24; got 23."),
        ({"key": jax.random.key(4)}, "key [0, 4]; got [0, 3]."),
    ],
)
def test_states_of_other_batches(other, message):
    data = made(**other)
    with pytest.raises(
        ValueError,
        match=f"^Batches.set_state needs a state of batches with {re.escape(message)}$",
    ):
        data.set_state(made().get_state())
    assert data.get_state()["batches"] == 0


@pytest.mark.parametrize(
    "state, error, message",
    [
        (None, TypeError, "a state of batches; got None."),
        ({"next_index": 3}, TypeError, "a state of batches; got {'next_index': 3}."),
        (
            made().get_state() | {"batches": -1},
            ValueError,
            "batches of at least 0; got -1.",
        ),
        (made().get_state() | {"batches": 1.5}, TypeError, "an integer batches; got 1.5."),
    ],
)
def test_what_is_no_state(state, error, message):
    with pytest.raises(error, match=f"^Batches.set_state needs {re.escape(message)}$"):
        made().set_state(state)


# Prefetch


class Watched:
    """Batches that say how many of them were taken."""

    def __init__(self, count, fails_at=None):
        self.count, self.fails_at, self.i = count, fails_at, 0

    def __iter__(self):
        return self

    def __next__(self):
        if self.i == self.fails_at:
            raise OSError("the disk is gone")
        if self.i == self.count:
            raise StopIteration
        self.i += 1
        return {"x": np.full(2, self.i), "none": None}


@pytest.mark.parametrize("size", [1, 2, 5])
def test_prefetch_hands_out_the_same_batches_from_the_device(size):
    data = Watched(7)
    ahead = train.prefetch(data, size)
    assert data.i == 0
    got = []
    for batch in ahead:
        assert isinstance(batch["x"], jax.Array)
        assert batch["none"] is None
        got.append(int(batch["x"][0]))
        assert data.i == min(len(got) + size - 1, 7)
    assert got == list(range(1, 8))
    assert list(ahead) == []


@pytest.mark.parametrize("stop", [0, 1, 5, 9])
def test_the_state_of_prefetch_is_that_of_what_was_handed_out(stop):
    whole = taken(made(epochs=2))
    ahead = train.prefetch(made(epochs=2), 3)
    assert taken(ahead, stop) == whole[:stop]
    state = through_json(ahead.get_state())
    plain = made(epochs=2)
    taken(plain, stop)
    assert state == plain.get_state()
    anew = train.prefetch(made(epochs=2), 2)
    next(anew)
    anew.set_state(state)
    assert anew.get_state() == state
    assert taken(anew) == whole[stop:]


def test_prefetch_knows_what_its_data_knows():
    ahead = train.prefetch(made(epochs=2), 3)
    assert operator.length_hint(ahead) == 10
    next(ahead)
    assert operator.length_hint(ahead) == 9
    assert not ahead.endless
    endless = train.prefetch(made())
    assert endless.endless
    assert operator.length_hint(endless, -1) == -1
    assert not train.prefetch([1]).endless


def test_a_fault_of_the_data_comes_after_the_batches_before_it():
    ahead = train.prefetch(Watched(7, fails_at=3), 3)
    got = [int(next(ahead)["x"][0]) for _ in range(3)]
    assert got == [1, 2, 3]
    with pytest.raises(OSError, match=r"^the disk is gone$"):
        next(ahead)


def test_prefetch_puts_arrays_where_it_is_told():
    mesh = jax.make_mesh((1,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    batch = next(train.prefetch(made(), sharding=sharding))
    assert batch["x"].sharding == batch["y"][0].sharding == sharding
    np.testing.assert_array_equal(batch["y"][0], batch["x"][:, None] * np.array([1, 2]))


def test_bad_prefetch():
    with pytest.raises(ValueError, match=r"^prefetch needs size of at least 1; got 0.$"):
        train.prefetch([], 0)
    with pytest.raises(TypeError, match=r"^prefetch needs a sharding or None; got tuple.$"):
        train.prefetch([], sharding=())
    for method, arguments in (("get_state", ()), ("set_state", (1,))):
        with pytest.raises(
            TypeError,
            match=rf"^Prefetch.{method} needs data that has {method}; got list_iterator.$",
        ):
            getattr(train.prefetch([1]), method)(*arguments)


# Moments


@pytest.mark.parametrize(
    "dtype", [np.uint8, np.int64, bool, np.float16, jnp.bfloat16, np.float32, np.float64]
)
@pytest.mark.parametrize(
    "shape, axis, seen",
    [
        ((40, 5, 6, 3), None, (3,)),
        ((40, 3), None, (3,)),
        ((40,), None, ()),
        ((40, 5, 6, 3), 0, (5, 6, 3)),
        ((40, 5, 6, 3), [0, -1], (5, 6, 1)),
        ((40, 5, 6, 3), (3, 1), (40, 1, 6, 1)),
        ((4, 3), (), (4, 3)),
    ],
)
def test_moments(dtype, shape, axis, seen):
    rng = np.random.default_rng(0)
    x = (rng.random(shape) * (2 if dtype is bool else 200)).astype(dtype)
    mean, std = train.moments(x, axis)
    exact = np.float64 if dtype == np.float64 else np.float32
    assert mean.dtype == std.dtype == exact
    assert mean.shape == std.shape == seen
    if axis is None:
        axis = tuple(range(max(x.ndim - 1, 1)))
    wide, over = x.astype(np.float64), {"axis": tuple(axis) if axis != 0 else 0}
    tolerance = {"rtol": 20 * np.finfo(exact).eps, "atol": 1e-30}
    np.testing.assert_allclose(mean, wide.mean(**over).reshape(seen), **tolerance)
    np.testing.assert_allclose(std, wide.std(**over).reshape(seen), **tolerance)
    y = train.standardize(x, mean, std)
    assert y.dtype == (dtype if jnp.issubdtype(dtype, jnp.floating) else jnp.float32)
    assert y.shape == x.shape
    scale = np.where(np.asarray(std) == 0, 1, std)
    want = (wide - np.asarray(mean, np.float64)) / scale
    np.testing.assert_allclose(
        y.astype(np.float64), want, atol=4 * float(jnp.finfo(y.dtype).eps), rtol=1e-2
    )


def test_constant_features_are_zero():
    """Also where the mean of a constant, rounded, would not be that constant."""
    x = np.random.default_rng(0).random((1001, 200), np.float32)
    x[:, 1:] = x[0, 1:]
    mean, std = train.moments(x)
    assert std[0] > 0
    np.testing.assert_array_equal(std[1:], 0)
    np.testing.assert_array_equal(mean[1:], x[0, 1:])
    y = train.standardize(x, mean, std)
    np.testing.assert_array_equal(y[:, 1:], 0)
    np.testing.assert_allclose(y[:, 0].mean(), 0, atol=1e-6)
    np.testing.assert_array_equal(train.standardize(x + 1, mean, std)[:, 1:], 0)
    gradient = jax.grad(lambda x: train.standardize(x, mean, std).sum())(x)
    assert np.isfinite(gradient).all()


def test_moments_of_large_means_are_right():
    """Squares minus the square of the mean would have no digit left."""
    x = 1e4 + np.random.default_rng(0).random((100_000, 1)).astype(np.float32)
    mean, std = train.moments(x)
    np.testing.assert_allclose(mean, x.mean(0, np.float64), rtol=1e-7)
    np.testing.assert_allclose(std, x.std(0, np.float64), rtol=1e-5)


def test_a_nan_stays_to_be_seen():
    x = np.float32([[1, 2], [np.nan, 3]])
    y = train.standardize(x, *train.moments(x))
    assert np.isnan(y).tolist() == [[True, False], [True, False]]


def test_both_are_functions_for_transformations():
    x = np.random.default_rng(0).random((6, 10, 3))
    want = [train.moments(a)[1] for a in x]
    np.testing.assert_allclose(jax.vmap(train.moments)(x)[1], want, rtol=1e-12)
    y = jax.jit(lambda x: train.standardize(x, *train.moments(x)))(x[0])
    np.testing.assert_allclose(y, train.standardize(x[0], *train.moments(x[0])), rtol=1e-9)


@pytest.mark.parametrize(
    "call, error, message",
    [
        (
            lambda: train.moments(np.ones((0, 3))),
            ValueError,
            "moments needs at least one example; got shape (0, 3).",
        ),
        (
            lambda: train.moments(np.float32(3)),
            ValueError,
            "moments needs at least one example; got shape ().",
        ),
        (
            lambda: train.moments(np.ones((2, 3)), 2),
            ValueError,
            "moments needs an axis of x of shape (2, 3); got 2.",
        ),
        (
            lambda: train.moments(np.ones((2, 3)), 0.5),
            TypeError,
            "moments needs an integer axis; got 0.5.",
        ),
        (
            lambda: train.moments(np.ones(3, complex)),
            TypeError,
            "moments needs x of real numbers; got complex128.",
        ),
        (
            lambda: train.moments([1.0]),
            TypeError,
            "moments needs x to be an array; got list.",
        ),
        (
            lambda: train.standardize(np.ones((4, 3)), np.ones(2), np.ones(3)),
            ValueError,
            "standardize needs mean of a shape that broadcasts to (4, 3), that of x; "
            "got (2,).",
        ),
        (
            lambda: train.standardize(np.ones(3), np.ones(3), np.ones((4, 3))),
            ValueError,
            "standardize needs std of a shape that broadcasts to (3,), that of x; "
            "got (4, 3).",
        ),
    ],
)
def test_bad_moments(call, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        call()


# Grain


def grain_batches(n=23, batch_size=4):
    grain = pytest.importorskip("grain", reason="its data is read: funcnn[train]")
    source = [{"x": np.int64(i), "y": np.float32([i, 2 * i])} for i in range(n)]
    data = grain.MapDataset.source(source).shuffle(seed=1).repeat()
    return iter(data.batch(batch_size))


@pytest.mark.parametrize("ahead", [False, True])
@pytest.mark.parametrize("stop", [0, 3, 8])
def test_grain_is_data_like_batches(stop, ahead):
    wrap = train.prefetch if ahead else iter
    whole = taken(grain_batches(), 14)
    assert sorted(itertools.chain(*whole))[:4] == [0, 0, 1, 1]
    data = wrap(grain_batches())
    assert taken(data, stop) == whole[:stop]
    state = data.get_state()
    kept = through_json(state)
    next(data)
    assert state == kept
    anew = wrap(grain_batches())
    anew.set_state(kept)
    assert taken(anew, 14 - stop) == whole[stop:]
