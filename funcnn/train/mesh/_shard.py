"""A training state on a mesh of devices."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jax.tree_util import keystr, tree_leaves_with_path

from funcnn.foundation._mesh import batch_over
from funcnn.train.mesh._mesh_specs import names, param_specs, state_specs
from funcnn.train.step._state import TrainState


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
        sharding = self._batch_along(axis)
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


def shard(
    state: TrainState,
    mesh: Mesh,
    *,
    rules: Sequence[tuple[str, PartitionSpec]] = (),
    fully: str | None = None,
    batch: str | Sequence[str] | None = None,
) -> Layout:
    """Lay a training state out on a mesh of devices.

    Without more, it is data parallelism: each device has all of the state, and its part of
    each batch. Here it is fully sharded: each device has its part of both.

        mesh = jax.make_mesh((jax.device_count(),), ("data",))
        layout = train.shard(state, mesh, fully="data")
        step = layout.jit(train.make_step(loss, optimizer))
        state = layout.place(state)
        state, metrics = step(state, layout.place_batch((images, labels)))

    The step is the same function of the same whole batch as on one device; the compiler
    cuts it up, and puts in what has to be exchanged (Xu et al. 2021, "GSPMD"). Losses
    differ by rounding alone.

    Args:
        state: what `init` returns, or its `ShapeDtypeStruct`s from `jax.eval_shape`, for a
            state too large for one device: see `Layout.init`.
        mesh: the devices, by named axes. Axis types do not matter: all are taken for
            `AxisType.Auto`.
        rules: pairs of a pattern and a `PartitionSpec`, for tensor parallelism and whatever
            else. The pattern is a shell's, matched with a parameter's whole path, such as
            "blocks/mlp/up/weight": `*` is for anything, `/` included. The first that
            matches decides; without one, a parameter is on every device of each axis.
        fully: an axis of the mesh over which every array is spread besides, along the
            largest of its axes that is free and divides (fully sharded data parallelism:
            Rajbhandari et al. 2020, "ZeRO", stage 3). What does not divide is not spread.
        batch: the axis, or axes, of the mesh over which examples are spread. None means all
            that no rule uses.

    Returns:
        A `Layout`. Arrays of the optimizer's state that are shaped like the parameter they
        belong to are where it is. Others, factored or quantised, are spread by `fully`, or
        else on every device.

    Raises:
        TypeError: if `state` is no `TrainState`, `mesh` no mesh, a spec no `PartitionSpec`.
        ValueError: if a rule matches nothing, names no axis of the mesh, or does not divide
            what it matches; if `fully` or `batch` is no axis.
    """
    if not isinstance(state, TrainState):
        raise TypeError(f"shard needs a TrainState; got {type(state).__name__}.")
    if not isinstance(mesh, Mesh):
        raise TypeError(f"shard needs a mesh of devices; got {type(mesh).__name__}.")
    # The compiler works out how what lies between is cut only along such axes.
    auto = (AxisType.Auto,) * len(mesh.axis_names)
    mesh = Mesh(mesh.devices, mesh.axis_names, axis_types=auto)
    if fully is not None:
        check_axes("fully", [fully], mesh)
    specs = param_specs(state.params, mesh, rules, fully)
    if batch is None:
        used = {name for _, spec in rules for name in names(spec)}
        batch = [name for name in mesh.axis_names if name not in used]
    else:
        batch = [batch] if isinstance(batch, str) else list(batch)
        check_axes("batch", batch, mesh)
    over = state_specs(state.opt_state, state.params, specs, mesh, fully)
    everywhere: Any = PartitionSpec()
    shardings = jax.tree.map(
        lambda spec: NamedSharding(mesh, spec),
        TrainState(everywhere, specs, over, everywhere),
    )
    return Layout(mesh, shardings, NamedSharding(mesh, PartitionSpec(tuple(batch) or None)))


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


def check_axes(what, given, mesh):
    """Check that all names are axes of the mesh.

    Raises:
        ValueError: if one is not.
    """
    for name in given:
        if name not in mesh.axis_names:
            raise ValueError(
                f"shard needs {what} among the mesh's axes {mesh.axis_names}; got {name!r}."
            )
