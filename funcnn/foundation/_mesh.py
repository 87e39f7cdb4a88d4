"""Work on the examples that a device has, in a program for several.

Such a program is written for the whole batch, and the compiler cuts it. Left alone it would
gather the batch on every device for some ops: those that loop over images, and those whose
weights are spread over the same devices as the examples, where the weights should be
gathered. Here an op says which of its arrays have a row for each example; then each device
runs it on its own examples, in the order that suits their number, with the whole of the
other arrays, and what is summed over examples is summed over devices.

Over which axes of the mesh examples are spread is said by an array's type, if they are
`AxisType.Explicit`, and for others by `batch_over`.
"""

import contextlib
import math
from collections.abc import Callable, Iterator

import jax
from jax.sharding import AbstractMesh, AxisType
from jax.sharding import PartitionSpec as P

# JAX's caches of what it has traced go by it.
_batch_axes = jax.make_user_context(default_value=())


@contextlib.contextmanager
def batch_over(mesh: AbstractMesh, axes: tuple[str, ...]) -> Iterator[None]:
    """Trace a program for a mesh, over some axes of which examples are spread."""
    with jax.sharding.use_abstract_mesh(mesh), _batch_axes(axes):
        yield


def by_device(f: Callable, arrays: tuple, batch: int = 1, totals: bool = False) -> Callable:
    """`f`, or in a mesh what runs it on each device for the device's own examples.

    What it returns is called with the arrays: `by_device(f, arrays)(*arrays)`.

    Args:
        f: a function of arrays. What it gives has examples on its first axis; with
            `totals`, it gives a pair of that, or None, and of sums over examples.
        arrays: its arguments, pytrees. The first is an array.
        batch: how many of them have examples on their first axis. All of the others go to
            each device.
        totals: whether there are sums.
    """
    mesh = jax.sharding.get_abstract_mesh()
    axes = _axes(mesh, arrays[0]) if batch and arrays[0].ndim else ()
    devices = math.prod(mesh.shape[a] for a in axes)
    if devices == 1 or not _divide(arrays[:batch], devices):
        return f

    def summed(*arrays):
        found, sums = f(*arrays)
        return found, jax.lax.psum(sums, axes)

    return jax.shard_map(
        summed if totals else f,
        in_specs=tuple(P(axes) if i < batch else P() for i in range(len(arrays))),
        out_specs=(P(axes), P()) if totals else P(axes),
        axis_names=set(axes),
    )


def _divide(arrays, devices):
    """Whether the examples do among devices, each of which gets some."""
    counts = [a.shape[0] for a in jax.tree.leaves(arrays)]
    return all(isinstance(n, int) and n and n % devices == 0 for n in counts)


def _axes(mesh, a):
    """The axes of the mesh over which examples are spread, as far as ops may see to it."""
    if mesh.empty:
        return ()
    kinds = dict(zip(mesh.axis_names, mesh.axis_types, strict=True))
    own = jax.typeof(a).sharding.spec[:1]
    own = own[0] if own and own[0] else ()
    axes = (own,) if isinstance(own, str) else own or _batch_axes.value
    # `shard_map` has taken those that are manual
    return tuple(
        axis for axis in axes if kinds.get(axis) in (AxisType.Auto, AxisType.Explicit)
    )
