"""A training state and a mesh come in, a `Layout` of the one on the other goes out."""

from collections.abc import Sequence
from typing import Any

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from funcnn.train.mesh._layout import Layout
from funcnn.train.mesh._partition_specs import names, param_specs, state_specs
from funcnn.train.step._train_state import TrainState


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
