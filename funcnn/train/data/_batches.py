"""Arrays in memory and a key come in; shuffled batches of them go out, an iterator."""

import functools
from collections.abc import Iterator
from typing import Any

import chex
import jax
import numpy as np
from jax.tree_util import keystr, tree_leaves_with_path

from funcnn.foundation._checks import integer
from funcnn.foundation._foreign import in_numpy


def batches(
    data: Any, batch_size: int, *, key: chex.PRNGKey | None, epochs: int | None = None
) -> "Batches":
    """Iterate over batches, shuffled or in order.

    Each epoch is one permutation of the examples, drawn from `fold_in(key, epoch)`, so
    that the same key gives the same batches. The examples left over when `batch_size`
    does not divide their number are dropped, other ones in each epoch (in order, the last
    ones in all): every batch has the same shape, and a jitted step compiles once.

    Args:
        data: a pytree of arrays with equal leading axes, such as `(images, labels)`.
            They stay in host memory, as NumPy arrays.
        batch_size: at least 1, at most the number of examples.
        key: determines the order; None means that of the data, in each epoch.
        epochs: how often to go through the data; None means without end.

    Returns:
        An iterator over pytrees like `data`, `batch_size` examples each. It can be moved:
        see `Batches`.

    Raises:
        TypeError: if `batch_size` or `epochs` is not an integer.
        ValueError: if the arrays differ in length, or a batch is larger than the data.
    """
    data, n = examples("batches", data)
    batch_size = integer("batches", "batch_size", batch_size, minimum=1)
    if batch_size > n:
        raise ValueError(
            f"batches needs batch_size of at most {n}, the number of examples; "
            f"got {batch_size}."
        )
    if epochs is not None:
        epochs = integer("batches", "epochs", epochs, minimum=0)
    return Batches(data, n, batch_size, key, epochs)


class Batches(Iterator):
    """What `batches` returns: an iterator that knows where it is.

    Its state is a few numbers that fit into JSON. Set anywhere, also on batches made anew
    from the same data and key, it goes on with the batches that would have come next:

        data = train.batches((images, labels), 128, key=key)
        next(data)
        where = data.get_state()
        again = train.batches((images, labels), 128, key=key)
        again.set_state(where)
    """

    def __init__(self, data, n, batch_size, key, epochs):
        self._data, self._n, self._batch_size = data, n, batch_size
        self._key, self._epochs = key, epochs
        self._per_epoch = n // batch_size
        self._count = 0
        self._order: tuple[int | None, Any] = None, None  # of which epoch, and the order

    @property
    def endless(self) -> bool:
        """Whether it has no last batch."""
        return self._epochs is None

    def __length_hint__(self):
        if self._epochs is None:
            return NotImplemented
        return max(self._epochs * self._per_epoch - self._count, 0)

    def __next__(self):
        epoch, i = divmod(self._count, self._per_epoch)
        if self._epochs is not None and epoch >= self._epochs:
            raise StopIteration
        if epoch != self._order[0]:
            self._order = epoch, self._permutation(epoch)
        self._count += 1
        chosen = self._order[1][i * self._batch_size : (i + 1) * self._batch_size]
        return jax.tree.map(lambda a: a[chosen], self._data)

    def _permutation(self, epoch):
        if self._key is None:
            return np.arange(self._n)
        epoch_key = jax.random.fold_in(self._key, epoch)
        return np.asarray(jax.random.permutation(epoch_key, self._n))

    def get_state(self) -> dict[str, Any]:
        """Return how many batches were taken, and of what: JSON-able."""
        return {"batches": self._count, **self._identity}

    def set_state(self, state: dict[str, Any]) -> None:
        """Go to where `get_state` was called, forwards or backwards.

        How many epochs there are is not part of a state: a run can be made longer.

        Raises:
            TypeError: if it is no state of `batches`.
            ValueError: if it is of batches of another size, number of examples or key,
                which would go on with other examples.
        """
        mine = self._identity
        if not isinstance(state, dict) or state.keys() != {"batches", *mine}:
            raise TypeError(f"Batches.set_state needs a state of batches; got {state!r}.")
        for name, value in mine.items():
            if state[name] != value:
                raise ValueError(
                    f"Batches.set_state needs a state of batches with {name} {value}; "
                    f"got {state[name]}."
                )
        self._count = integer("Batches.set_state", "batches", state["batches"], minimum=0)

    @functools.cached_property
    def _identity(self):
        """What determines the batches, but for the examples themselves."""
        key = self._key
        if key is not None:
            key = np.asarray(jax.random.key_data(key)).tolist()
        return {"batch_size": self._batch_size, "examples": self._n, "key": key}


def examples(function, data):
    """Return `data` as NumPy arrays, and how many examples they hold.

    Raises:
        ValueError: if there are none, or the leading axes differ.
    """
    data = jax.tree.map(np.asarray, in_numpy(data))
    leaves = tree_leaves_with_path(data)
    if not leaves:
        raise ValueError(f"{function} needs at least one array; got {data}.")
    for path, a in leaves:
        if not a.ndim:
            raise ValueError(
                f"{function} needs arrays with a leading axis of examples; "
                f"got shape () at {keystr(path) or 'the root'}."
            )
    (first, a), *rest = leaves
    for path, b in rest:
        if len(b) != len(a):
            raise ValueError(
                f"{function} needs arrays with as many examples each; "
                f"got {len(a)} at {keystr(first)} and {len(b)} at {keystr(path)}."
            )
    if not len(a):
        raise ValueError(f"{function} needs at least one example; got none.")
    return data, len(a)
