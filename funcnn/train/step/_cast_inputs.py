"""Params and a batch come in, and go out in the dtype that a loss is computed in."""

from typing import Any

import jax
from jax.tree_util import tree_flatten_with_path

from funcnn.foundation._checks import float_dtype
from funcnn.foundation._dtypes import floats_as
from funcnn.foundation._paths import as_patterns, first_match, path_of


class Casts:
    """How params and batches are cast.

    Args:
        function: what errors call what uses it.
        dtype: what floating-point arrays are cast to; None leaves all as it is.
        keep: patterns of the paths in a batch that are not cast.

    Raises:
        TypeError: if `dtype` is not floating-point, or a pattern no string.
    """

    def __init__(self, function: str, dtype: Any, keep: Any):
        self.function = function
        self.keep = as_patterns(function, "keep", keep)
        given = dtype is not None
        self.dtype = float_dtype(function, "a compute_dtype", dtype) if given else None

    def params(self, params):
        """Params in that dtype."""
        return params if self.dtype is None else floats_as(params, self.dtype)

    def batch(self, batch):
        """A batch in that dtype, but for what is kept.

        Raises:
            ValueError: if a pattern is of no array in the batch.
        """
        leaves, tree = tree_flatten_with_path(batch)
        paths = [path_of(path) for path, _ in leaves]
        kept = [first_match(path, self.keep) for path in paths]
        for pattern in self.keep:
            if not any(first_match(path, (pattern,)) for path in paths):
                raise ValueError(
                    f"{self.function} needs keep to match a part of the batch; {pattern!r} "
                    f"matches none. There are {', '.join(paths) or 'none'}."
                )
        if self.dtype is None:
            return batch
        cast = [
            a if pattern is not None else floats_as(a, self.dtype)
            for (_, a), pattern in zip(leaves, kept, strict=True)
        ]
        return jax.tree.unflatten(tree, cast)
