"""Batches: each example once an epoch, in an order by the key, from any place on."""

import operator
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnn import train
from tests.support.numbered_batches import KEY, made, taken, through_json

STATE = {"batches": 2, "batch_size": 4, "examples": 23, "key": [0, 3]}


def test_an_epoch_holds_each_example_once():
    x = np.arange(20)
    data = {"x": x, "y": (x[:, None] * [1, 2],)}
    epochs = [list(train.batches(data, 5, key=KEY, epochs=n)) for n in (1, 2)]
    assert [len(e) for e in epochs] == [4, 8]
    first, second = epochs[1][:4], epochs[1][4:]
    for epoch in (first, second):
        assert sorted(np.concatenate([b["x"] for b in epoch])) == x.tolist()
        for batch in epoch:
            np.testing.assert_array_equal(batch["y"][0], batch["x"][:, None] * [1, 2])
    jax.tree.map(np.testing.assert_array_equal, first, epochs[0])
    orders = [np.concatenate([b["x"] for b in e]).tolist() for e in (first, second)]
    assert orders[0] != orders[1] != x.tolist()
    assert orders[1] == jax.random.permutation(jax.random.fold_in(KEY, 1), 20).tolist()


def test_the_key_is_the_order():
    def order(key):
        return np.stack(list(train.batches(np.arange(20), 5, key=key, epochs=2)))

    np.testing.assert_array_equal(order(KEY), order(KEY))
    assert (order(KEY) != order(jax.random.key(1))).any()


def test_the_last_short_batch_is_dropped():
    data = train.batches(np.arange(11), 4, key=KEY, epochs=3)
    assert [b.shape for b in data] == [(4,)] * 6
    whole = train.batches(np.arange(11), 11, key=KEY, epochs=1)
    assert sorted(next(whole)) == list(range(11))


def test_batches_are_numpy_of_the_same_dtype():
    data = (jnp.ones((6, 2), jnp.bfloat16), np.ones(6, np.uint8), None)
    x, y, none = next(train.batches(data, 2, key=KEY))
    assert (type(x), x.dtype, x.shape) == (np.ndarray, jnp.bfloat16, (2, 2))
    assert (type(y), y.dtype, y.shape) == (np.ndarray, np.uint8, (2,))
    assert none is None


def test_endless_batches():
    data = train.batches(np.arange(4), 2, key=KEY)
    assert data.endless
    assert len([next(data) for _ in range(100)]) == 100


@pytest.mark.parametrize(
    "data, batch_size, error, message",
    [
        (
            {"x": np.ones(3), "y": np.ones((4, 2))},
            2,
            ValueError,
            "batches needs arrays with as many examples each; "
            r"got 3 at \['x'\] and 4 at \['y'\].",
        ),
        (
            np.ones(3),
            4,
            ValueError,
            "batches needs batch_size of at most 3, the number of examples; got 4.",
        ),
        (np.ones(3), 0, ValueError, "batches needs batch_size of at least 1; got 0."),
        (np.ones(3), 1.0, TypeError, "batches needs an integer batch_size; got 1.0."),
        ((), 1, ValueError, r"batches needs at least one array; got \(\)."),
        (np.ones((0, 3)), 1, ValueError, "batches needs at least one example; got none."),
        (
            (np.ones(3), 1.0),
            1,
            ValueError,
            "batches needs arrays with a leading axis of examples; "
            r"got shape \(\) at \[1\].",
        ),
    ],
)
def test_bad_batches(data, batch_size, error, message):
    with pytest.raises(error, match=f"^{message}$"):
        train.batches(data, batch_size, key=KEY)


def test_bad_epochs():
    with pytest.raises(ValueError, match=r"^batches needs epochs of at least 0; got -1.$"):
        train.batches(np.ones(3), 1, key=KEY, epochs=-1)


# Where they are


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
