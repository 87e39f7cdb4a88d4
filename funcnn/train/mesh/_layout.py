"""States and batches come in; they go out where a layout has them, on a mesh."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jax.tree_util import keystr, tree_leaves_with_path

from funcnn.foundation._foreign import in_numpy
from funcnn.foundation._mesh import batch_over
from funcnn.train.mesh._partition_specs import names
from funcnn.train.step._train_state import TrainState


@dataclass(frozen=True)
class Layout:
    """Where a state and its batches are kept, and a step that keeps them there.

    Attributes:
        mesh: the devices, all axes left to the compiler to work out (`AxisType.Auto`).
        state: a pytree like the state, of `NamedSharding`s.
        batch: the sharding of a batch's arrays, by their leading axis.
    """

    mesh: Mesh
    state: TrainState
    batch: NamedSharding

    def place(self, state: TrainState) -> TrainState:
        """Copy a state to its devices.

        With several processes, each has the whole of it, or it is where it belongs already,
        as `init` leaves it.
        """
        if jax.process_count() > 1:
            state = jax.tree.map(from_process, state, self.state)
        else:
            state = jax.device_put(state, self.state)
        # copied once there: what is placed may share memory, which a step would take
        return jax.jit(partial(jax.tree.map, jnp.copy), out_shardings=self.state)(state)

    def init(self, make: Callable[..., TrainState], *args: Any) -> TrainState:
        """Return `make(*args)`, each part of it made on the devices that keep it.

        No device, and no host, ever holds the whole state.
        """
        return jax.jit(make, out_shardings=self.state)(*args)

    def place_batch(self, batch: Any, axis: int = 0) -> Any:
        """Copy a batch to the devices, each of which gets its examples.

        With several processes, each has a part of the batch, and their parts in the order
        of the processes are the whole.

        Args:
            batch: a pytree of arrays. One that is on the devices already, as `prefetch`
                with the layout's sharding leaves it, stays as it is.
            axis: that of the examples.

        Raises:
            ValueError: if they do not divide among the devices.
        """
        sharding, batch = self._batch_along(axis), in_numpy(batch)
        parts = math.prod(self.mesh.shape[name] for name in names(self.batch.spec))
        processes = jax.process_count()
        for path, a in tree_leaves_with_path(batch):
            shape = jnp.shape(a)
            if there(a, sharding):
                continue
            if len(shape) <= axis or shape[axis] * processes % parts:
                raise ValueError(
                    f"place_batch needs a number of examples on axis {axis} that divides "
                    f"among {parts} devices; got shape {shape} at "
                    f"{keystr(path) or 'the root'}"
                    + ("." if processes == 1 else f" in each of {processes} processes.")
                )
        if processes == 1:
            return jax.device_put(batch, sharding)
        return jax.tree.map(
            lambda a: (
                a
                if there(a, sharding)
                else jax.make_array_from_process_local_data(sharding, a)
            ),
            batch,
        )

    def jit(self, step: Callable, axis: int = 0) -> Callable:
        """Return the step compiled for these devices, with the state donated.

        What it returns beside the state, the metrics, is the same on all devices. Batches
        may come from `place_batch`, or, in one process, from anywhere.

        Args:
            step: `step(state, batch) -> (state, metrics)`, such as `make_step` returns.
            axis: that of a batch's examples: 1 for several steps in one call.
        """

        def on_mesh(state, batch):
            # so that ops know of the devices
            with batch_over(self.mesh.abstract_mesh, tuple(names(self.batch.spec))):
                return step(state, batch)

        everywhere = NamedSharding(self.mesh, PartitionSpec())
        return jax.jit(
            on_mesh,
            in_shardings=(self.state, self._batch_along(axis)),
            out_shardings=(self.state, everywhere),
            donate_argnums=0,
        )

    def _batch_along(self, axis):
        spec = PartitionSpec(*[None] * axis, *self.batch.spec)
        return NamedSharding(self.mesh, spec)


def from_process(a, sharding):
    """An array on the devices of all processes, each of which has the whole of it."""
    if there(a, sharding):
        return a
    if jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
        data = from_process(jax.random.key_data(a), sharding)
        return jax.random.wrap_key_data(data, impl=jax.random.key_impl(a))
    here = np.asarray(a)
    return jax.make_array_from_callback(here.shape, sharding, here.__getitem__)


def there(a, sharding):
    """Whether an array is where the sharding has it."""
    return isinstance(a, jax.Array) and a.sharding.is_equivalent_to(sharding, a.ndim)
