"""Params, rules and a mesh come in, a `PartitionSpec` for each array goes out."""

import math
from fnmatch import fnmatchcase

import jax
import numpy as np
from jax.sharding import PartitionSpec
from jax.tree_util import tree_flatten_with_path, tree_map_with_path

from funcnn.foundation._paths import part_of, path_of


def param_specs(params, mesh, rules, fully):
    """The `PartitionSpec` of each array of the params, a pytree like them."""
    leaves, treedef = tree_flatten_with_path(params)
    paths = [path_of(path) for path, _ in leaves]
    found: dict[int, PartitionSpec] = {}
    for pattern, spec in rules:
        taken = [i for i, path in enumerate(paths) if fnmatchcase(path, pattern)]
        new = [i for i in taken if i not in found]
        if not new:
            why = "which earlier rules have taken" if taken else "as none is called so"
            raise ValueError(
                f"shard needs rules that match a parameter; {pattern!r} decides of none, "
                f"{why}. There are {', '.join(paths) or 'none'}."
            )
        for i in new:
            check(paths[i], leaves[i][1].shape, spec, mesh)
        found |= dict.fromkeys(new, spec)
    specs = [
        spread(found.get(i, PartitionSpec()), a.shape, fully, mesh)
        for i, (_, a) in enumerate(leaves)
    ]
    return jax.tree.unflatten(treedef, specs)


def state_specs(opt_state, params, specs, mesh, fully):
    """The `PartitionSpec` of each array of an optimizer's state.

    An array whose path ends with that of a parameter, and which has its shape, is cut as
    the parameter is. What is left, such as factored or quantised moments, is spread like
    params without a rule.
    """
    known = {
        tuple(map(part_of, path)): (a.shape, spec)
        for (path, a), spec in zip(
            tree_flatten_with_path(params)[0], jax.tree.leaves(specs), strict=True
        )
    }

    def spec_of(path, a):
        parts = tuple(map(part_of, path))
        for start in range(len(parts) + 1):  # the longest path first
            if parts[start:] in known:
                shape, spec = known[parts[start:]]
                if shape == np.shape(a):
                    return spec
                break
        return spread(PartitionSpec(), np.shape(a), fully, mesh)

    return tree_map_with_path(spec_of, opt_state)


def spread(spec, shape, axis, mesh):
    """`spec`, and the largest free axis that divides over one of the mesh's as well.

    Of axes of the same length the last: the first may be that of a stack's layers.
    """
    if axis is None or axis in names(spec):
        return spec
    entries = [*spec, *[None] * (len(shape) - len(spec))]
    free = [
        (n, i)
        for i, n in enumerate(shape)
        if entries[i] is None and n and n % mesh.shape[axis] == 0
    ]
    if not free:
        return spec
    entries[max(free)[1]] = axis
    return PartitionSpec(*entries)


def check(path, shape, spec, mesh):
    """Check that a rule's spec fits an array.

    Raises:
        TypeError: if it is no `PartitionSpec`.
        ValueError: if it names what is no axis of the mesh, or one twice, has too many
            entries, or does not divide an axis.
    """
    if not isinstance(spec, PartitionSpec):
        raise TypeError(f"shard needs a PartitionSpec for {path}; got {spec!r}.")
    used = names(spec)
    for name in used:
        if name not in mesh.axis_names:
            raise ValueError(
                f"shard needs axes of the mesh, {mesh.axis_names}, for {path}; got {spec}."
            )
    if len(set(used)) < len(used):
        raise ValueError(f"shard needs each axis at most once for {path}; got {spec}.")
    if len(spec) > len(shape):
        raise ValueError(
            f"shard needs at most {len(shape)} entries for {path} of shape {shape}; "
            f"got {spec}."
        )
    for i, (n, entry) in enumerate(zip(shape, spec, strict=False)):
        parts = math.prod(mesh.shape[name] for name in names([entry]))
        if n % parts:
            raise ValueError(
                f"shard needs axis {i} of {path}, of shape {shape}, to divide by {parts} "
                f"for {spec}; got {n}."
            )


def names(spec):
    """The axes of a mesh that a spec uses, in order."""
    entries = ((e,) if isinstance(e, str) else e or () for e in spec)
    return [name for entry in entries for name in entry]
