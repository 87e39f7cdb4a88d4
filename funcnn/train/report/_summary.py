"""A model comes in; what it is made of and costs goes out, layer by layer."""

from typing import Any, NamedTuple

import jax

from funcnn.foundation._checks import integer
from funcnn.layers.protocol._layer import Layer, kind
from funcnn.layers.protocol._places import arrays_of, names
from funcnn.layers.protocol._shapes import describe
from funcnn.train.report._layer_costs import nbytes, traced
from funcnn.train.report._summary_table import table


class Row(NamedTuple):
    """A layer inside a model. Of one in a `Stack`, numbers are of all of its repetitions.

    Attributes:
        path: names from the model down, such as "stem/0": the path of its params.
        kind: the name of the function that made it, such as "Conv".
        times: how often a `Stack` repeats it, or those that it is in.
        output: a pytree of `jax.ShapeDtypeStruct`; of one repetition.
        params: how many numbers its params are.
        bytes: what they take.
        flops: floating-point operations of its forward pass.
        kept: bytes that the backward pass of this layer alone would be kept, params aside:
            its input, if that is needed, and what it computes.
    """

    path: str
    kind: str
    times: int
    output: Any
    params: int
    bytes: int
    flops: float
    kept: int


class Total(NamedTuple):
    """A whole model.

    Attributes:
        kind: as in `Row`, as are the next five.
        output: its output.
        params: their number.
        bytes: what they take.
        flops: of the forward pass.
        kept: what the forward pass keeps for the backward pass, each array once.
        step_flops: of forward and backward pass, with what is computed again.
        temporary: bytes that the compiled forward and backward pass takes besides params,
            input, output and gradients; None where the platform does not tell.
    """

    kind: str
    output: Any
    params: int
    bytes: int
    flops: float
    kept: int
    step_flops: float
    temporary: int | None


class Summary(NamedTuple):
    """A model by layer, outer ones before those inside them. `str` is a table."""

    rows: tuple[Row, ...]
    total: Total

    def __str__(self) -> str:
        """A line a layer, within 80 columns."""
        return table(self.rows, self.total)


def summary(model: Layer, shape: Any, *, depth: int | None = None) -> Summary:
    """Tell the params, FLOPs and memory of a model and of each layer in it.

        report = train.summary(model, (32, 784))
        print(report)
        report.total.params

    Layers are those that are called, by funcnn's own layers and by functions of one's own,
    to any depth. They are told by the paths of their params; those that have none, by the
    name that the layer around gives them, or by their kind. One that is called twice has
    one row. Params that no layer below the model has are a row of the kind "params".

    All is as in training, with a key, and nothing is run: the layers are traced, and the
    whole model's forward and backward pass compiled.

    FLOPs are XLA's count for the program as it is before it is optimised. They are of the
    formulation that is used, and a loop inside an op counts as one pass of it, while a
    `Stack` counts as often as it repeats its layer.

    Args:
        model: a layer.
        shape: the input's shape with its batch axis, or what else `model.init` takes.
        depth: how many levels of layers in layers to tell of; None means all, 0 none.

    Raises:
        TypeError: if `model` is not a layer, or `depth` not an integer.
        ValueError: if `depth` is negative.
    """
    if not isinstance(model, Layer):
        raise TypeError(f"summary needs a layer; got {model!r}.")
    if depth is not None:
        depth = integer("summary", "depth", depth, minimum=0)
    x = describe("summary", shape)
    key = jax.eval_shape(lambda: jax.random.key(0))
    params = jax.eval_shape(lambda key: model.init(key, shape), key)
    whole = traced(model, params, x, key)
    shown = [node for node in whole.inside() if depth is None or node.depth <= depth]
    rows = (*map(row_of, shown), *others(params, [node.path for node in shown]))
    memory = whole.forward_and_backward().compile().memory_analysis()
    numbers, size_in_bytes = size(whole.params)
    total = Total(
        kind(model),
        whole.output,
        numbers,
        size_in_bytes,
        whole.flops(),
        whole.kept(),
        whole.step_flops(),
        getattr(memory, "temp_size_in_bytes", None),
    )
    return Summary(rows, total)


def row_of(node) -> Row:
    """The row of a call."""
    numbers, in_bytes = (node.times * n for n in size(node.params))
    flops, kept = node.times * node.flops(), node.times * node.kept()
    path, name = "/".join(node.path), kind(node.call.layer)
    return Row(path, name, node.times, node.output, numbers, in_bytes, flops, kept)


def others(params, paths) -> list[Row]:
    """Rows of the params that no call has, if there are calls, whole trees in one."""
    found: dict[tuple, list] = {}
    inside = {path[:n] for path in paths for n in range(1, len(path) + 1)}
    for part, a in arrays_of(params):
        path = names(part)
        starts = [path[:n] for n in range(1, len(path) + 1)]
        if paths and not any(start in paths for start in starts):
            own = next((start for start in starts if start not in inside), path)
            found.setdefault(own, []).append(a)
    rows = []
    for path, arrays in found.items():
        numbers, in_bytes = size(arrays)
        shown = arrays[0] if len(arrays) == 1 else ()
        rows.append(Row("/".join(path), "params", 1, shown, numbers, in_bytes, 0.0, 0))
    return rows


def size(params):
    """How many numbers, and how many bytes."""
    leaves = jax.tree.leaves(params)
    return sum(a.size for a in leaves), sum(nbytes(a) for a in leaves)
