"""A step comes in and goes out compiled, for one batch or several, one device or many."""

from itertools import islice

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import tree_leaves_with_path

from funcnn.foundation._foreign import in_numpy
from funcnn.train.step._scan_steps import scan_steps


class CompiledStep:
    """A step compiled, once, with its state donated.

    Args:
        step: of one batch.
        size: how many steps to take in a call.
        layout: where state and batches go, or None.
    """

    def __init__(self, step, size, layout):
        self._size, self._layout = size, layout
        devices = [] if layout is None else layout.mesh.local_devices
        self._waits = len(devices) > 1 and devices[0].platform == "cpu"
        several = scan_steps(step)
        if layout is None:
            self._one, self._all = (jax.jit(f, donate_argnums=0) for f in (step, several))
        else:
            self._one, self._all = layout.jit(step), layout.jit(several, axis=1)

    def begin(self, state):
        """A copy of a state, to be donated, where it belongs."""
        if self._layout is None:
            return jax.tree.map(jnp.copy, state)
        return self._layout.place(state)

    def like(self, state):
        """What a state that is restored looks like, and where it goes."""
        if self._layout is None:
            return state

        def leaf(a, sharding):
            return jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=sharding)

        return jax.tree.map(leaf, state, self._layout.state)

    def one(self, state, batch):
        """Take one step."""
        return self._done(self._one(state, self._placed(batch, 0)))

    def several(self, state, batches):
        """Take a step on each batch; return the state and pairs of a count and metrics.

        Fewer than make a call, the last ones, are taken one by one: another length would
        be another program to compile. So are batches that are not alike, as with a last
        one that is short.
        """
        if self._size > 1 and len(batches) == self._size and alike(batches):
            together = self._placed(jax.tree.map(stack, *batches), 1)
            state, metrics = self._done(self._all(state, together))
            return state, [(self._size, metrics)]
        found = []
        for batch in batches:
            state, metrics = self.one(state, batch)
            found.append((1, metrics))
        return state, found

    def _done(self, result):
        """Wait, where steps that run at the same time would wait for each other for ever.

        That is on a processor that passes for several devices: it has too few threads.
        """
        return jax.block_until_ready(result) if self._waits else result

    def _placed(self, batch, axis):
        return batch if self._layout is None else self._layout.place_batch(batch, axis)

    def groups(self, data, most):
        """Lists of batches, a call's each, the last one shorter; `most` batches at most."""
        data = map(in_numpy, islice(data, most))
        while group := list(islice(data, self._size)):
            yield group


def alike(batches):
    """Whether all have the same structure, shapes and dtypes."""
    kinds = [
        [
            (path, np.shape(a), getattr(a, "dtype", type(a)))
            for path, a in tree_leaves_with_path(batch)
        ]
        for batch in batches
    ]
    return all(kind == kinds[0] for kind in kinds)


def stack(*arrays):
    """On the host what is there, on the device what is there."""
    on_host = all(isinstance(a, np.ndarray | np.generic) for a in arrays)
    return np.stack(arrays) if on_host else jnp.stack(arrays)
