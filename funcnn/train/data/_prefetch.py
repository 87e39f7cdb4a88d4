"""Batches come in; the same go out, on their device before they are used."""

import operator
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

import jax
import numpy as np

from funcnn.foundation._checks import integer
from funcnn.foundation._foreign import in_numpy


def prefetch(
    data: Iterable, size: int = 2, sharding: jax.sharding.Sharding | None = None
) -> "Prefetch":
    """Iterate over `data`, its arrays put on the device ahead of use.

        data = train.batches((images, labels), 128, key=key)
        for batch in train.prefetch(data):
            break

    Transfers are dispatched and not waited for, so that they take place while a step
    computes. No thread is made: the next batch is taken from `data` whenever one is
    handed out. Data that is slow to make is better made by threads or processes of its
    own, such as Grain's.

    Args:
        data: an iterable over pytrees of arrays. One that is exhausted early ends later
            here, after all that it gave; so does one that fails.
        size: how many batches are on the device at most, that in use included; at least 1.
        sharding: where the arrays go; None means JAX's default device. In a run of
            several processes, each process gives its own part of every batch.

    Returns:
        An iterator over the same batches, of `jax.Array`s. Where `data` has `get_state`
        and `set_state`, so has this: its state is that of the batches handed out, whatever
        was fetched ahead of them.

    Raises:
        TypeError: if `size` is not an integer, or `sharding` not a sharding.
        ValueError: if `size` is less than 1.
    """
    size = integer("prefetch", "size", size, minimum=1)
    if not isinstance(sharding, jax.sharding.Sharding | None):
        raise TypeError(
            f"prefetch needs a sharding or None; got {type(sharding).__name__}."
        )
    return Prefetch(iter(data), size, sharding)


class Prefetch(Iterator):
    """What `prefetch` returns: an iterator in the protocol of the one it is made from."""

    def __init__(self, data, size, sharding):
        self._data, self._size, self._sharding = data, size, sharding
        self._start()

    def _start(self):
        self._ahead: deque[tuple[Any, Any]] = deque()  # batches, and the state after each
        self._end: Exception | None = None
        self._state = self._inner_state()

    def _inner_state(self):
        return self._data.get_state() if hasattr(self._data, "get_state") else None

    @property
    def endless(self) -> bool:
        """Whether the data has no last batch, as far as it tells."""
        return getattr(self._data, "endless", False)

    def __length_hint__(self):
        left = operator.length_hint(self._data, -1)
        return NotImplemented if left < 0 else left + len(self._ahead)

    def __next__(self):
        while self._end is None and len(self._ahead) < self._size:
            try:
                batch = self._put(next(self._data))
            except Exception as end:  # told when all before it is handed out
                self._end = end
            else:
                self._ahead.append((batch, self._inner_state()))
        if not self._ahead:
            assert self._end is not None
            raise self._end
        batch, self._state = self._ahead.popleft()
        return batch

    def _put(self, batch):
        batch = in_numpy(batch)
        if self._sharding is None:
            return jax.device_put(batch)
        return jax.tree.map(
            lambda a: jax.make_array_from_process_local_data(self._sharding, np.asarray(a)),
            batch,
        )

    def get_state(self) -> Any:
        """Return the data's state as it was when the last batch handed out was taken.

        Raises:
            TypeError: if the data has no state.
        """
        self._needs("get_state")
        return self._state

    def set_state(self, state: Any) -> None:
        """Drop what was fetched ahead, and set the data's state.

        Raises:
            TypeError: if the data has no state.
        """
        self._needs("set_state")
        self._data.set_state(state)
        self._start()

    def _needs(self, method):
        if not hasattr(self._data, method):
            raise TypeError(
                f"Prefetch.{method} needs data that has {method}; "
                f"got {type(self._data).__name__}."
            )
