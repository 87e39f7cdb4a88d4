"""Gathers and scatters by NumPy: arrays, indices and parameters in, an array out."""

import numpy as np
from jax.lax import GatherScatterMode as Mode


def gather(x, indices, p):
    """JAX's `gather`, or None if elements are missing that are not filled with NaN."""
    d, mode = p["dimension_numbers"], p["mode"]
    flat = *d.collapsed_slice_dims, *d.operand_batching_dims
    batching = zip(d.operand_batching_dims, d.start_indices_batching_dims, strict=True)
    places, fits = _places(
        x.shape, indices, d.start_index_map, batching, p["slice_sizes"], flat
    )
    y = x[places]
    if mode == Mode.FILL_OR_DROP and not fits.all():
        value = p["fill_value"]
        if value is None and x.dtype.kind != "f":
            return None
        inside = fits.reshape(fits.shape + (1,) * (y.ndim - fits.ndim))
        y = np.where(inside, y, np.nan if value is None else value)
    elif mode == Mode.ONE_HOT:
        return None
    count = indices.ndim - 1
    return np.moveaxis(y, range(count, y.ndim), d.offset_dims)


def scatter_add(x, indices, updates, p):
    """JAX's `scatter_add`."""
    places, updates, fits = _scattered(x, indices, updates, p)
    if p["mode"] != Mode.CLIP:
        updates = np.where(fits, updates, 0)
    y = np.array(x)
    np.add.at(y, places, updates)
    return y


def scatter(x, indices, updates, p):
    """JAX's `scatter`, or None if some fall outside."""
    places, updates, fits = _scattered(x, indices, updates, p)
    if not fits.all():
        return None
    y = np.array(x)
    y[places] = updates
    return y


def _scattered(x, indices, updates, p):
    """Where updates go, the updates in that order, and which of them fit."""
    d = p["dimension_numbers"]
    flat = *d.inserted_window_dims, *d.operand_batching_dims
    batching = zip(d.operand_batching_dims, d.scatter_indices_batching_dims, strict=True)
    window = iter(updates.shape[i] for i in d.update_window_dims)
    sizes = [1 if axis in flat else next(window) for axis in range(x.ndim)]
    places, fits = _places(
        x.shape, indices, d.scatter_dims_to_operand_dims, batching, sizes, flat
    )
    count = indices.ndim - 1
    updates = np.moveaxis(updates, d.update_window_dims, range(count, updates.ndim))
    return places, updates, fits.reshape(fits.shape + (1,) * (updates.ndim - fits.ndim))


def _places(shape, indices, axes, batching, sizes, flat):
    """An index into each axis of an array for each element, and which windows fit in it.

    Windows have the `sizes`, and the axes of an array that are not `flat`; what does not
    fit is moved inside.
    """
    batch = indices.shape[:-1]
    starts = {axis: indices[..., k].astype(np.int64) for k, axis in enumerate(axes)}
    for axis, of_batch in batching:
        line = [1] * len(batch)
        line[of_batch] = -1
        starts[axis] = np.arange(batch[of_batch]).reshape(line)
    windows = [axis for axis in range(len(shape)) if axis not in flat]
    fits = np.ones(batch, bool)
    places = []
    for axis, (n, size) in enumerate(zip(shape, sizes, strict=True)):
        start = np.broadcast_to(starts.get(axis, 0), batch)
        fits &= (start >= 0) & (start <= n - size)
        place = np.clip(start, 0, n - size).reshape(batch + (1,) * len(windows))
        if axis in windows:
            line = [1] * len(windows)
            line[windows.index(axis)] = -1
            place = place + np.arange(size).reshape(line)
        places.append(place)
    return tuple(places), fits
