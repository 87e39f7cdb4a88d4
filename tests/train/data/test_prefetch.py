"""Batches that are on their device ahead of use, and where they are."""

import operator

import jax
import numpy as np
import pytest

from funcnn import train
from tests.support.numbered_batches import made, taken, through_json


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
