"""An op at one shape, read from a line of text and written as one."""

import re
from typing import Any, NamedTuple

from benchmarks.ops.networks import SHAPES

# Ops that share a line of the summary; every other op has its own.
GROUPS = {
    "layer_norm": "norms",
    "batch_norm": "norms",
    "group_norm": "norms",
    "rms_norm": "norms",
    "softmax_cross_entropy": "cross entropy",
    "linear_softmax_cross_entropy": "cross entropy",
    **dict.fromkeys(("mse", "cross_entropy"), "other losses"),
    **dict.fromkeys(("dot", "matmul", "tensordot"), "products"),
    **dict.fromkeys(("softmax", "log_softmax"), "softmax"),
    **dict.fromkeys(("relu", "leaky_relu", "elu", "sigmoid"), "activations"),
    **dict.fromkeys(("tanh", "silu", "gelu", "softplus"), "activations"),
    **dict.fromkeys(("swiglu", "geglu"), "activations"),
    **dict.fromkeys(("im2col", "col2im"), "patches"),
    **dict.fromkeys(("embed", "rope"), "embeddings"),
}


class Shape(NamedTuple):
    """An op at one shape.

    Attributes:
        op: its name in `funcnn.ops`.
        network: which has such a layer.
        arrays: shapes, as `((128, 28, 28, 1), (5, 5, 1, 6))`.
        options: what else the op is given, by name.
    """

    op: str
    network: str
    arrays: tuple[tuple[int, ...], ...]
    options: dict[str, Any]

    @property
    def spec(self) -> str:
        """Arrays and options as a line of `SHAPES` has them."""
        arrays = [",".join(map(str, array)) for array in self.arrays]
        options = [f"{name}={shown(value)}" for name, value in self.options.items()]
        return " ".join(arrays + options)

    @property
    def name(self) -> str:
        """The op and its spec: no two shapes have the same."""
        return f"{self.op} {self.spec}"

    @property
    def group(self) -> str:
        """The line of the summary that it counts in."""
        groups = self.options.get("groups", 1)
        if self.op == "conv" and groups > 1:
            return "depthwise" if groups == self.arrays[0][-1] else "grouped conv"
        return GROUPS.get(self.op, self.op)


def shown(value) -> str:
    """An option as it is written: `2`, `SAME`, `True`, `2,1`, or `0:1,1:1` for padding."""
    if isinstance(value, tuple):
        return ",".join(
            ":".join(map(str, v)) if isinstance(v, tuple) else str(v) for v in value
        )
    return str(value)


def parse_array(text: str) -> tuple[int, ...]:
    """Read `128,28,28,1`.

    Raises:
        ValueError: if these are not positive numbers.
    """
    if not re.fullmatch(r"[1-9]\d*(,[1-9]\d*)*", text):
        raise ValueError(f"a shape is like 128,28,28,1; got {text!r}")
    return tuple(map(int, text.split(",")))


def parse_option(text: str) -> Any:
    """Read what `shown` writes.

    Raises:
        ValueError: if it is none of an int, ints, pairs, True, False, SAME or VALID.
    """
    if text.capitalize() in ("True", "False"):
        return text.capitalize() == "True"
    if text.upper() in ("SAME", "VALID"):
        return text.upper()
    if re.fullmatch(r"\d+", text):
        return int(text)
    if re.fullmatch(r"\d+(,\d+)+", text):
        return tuple(map(int, text.split(",")))
    if re.fullmatch(r"\d+:\d+(,\d+:\d+)*", text):
        low_high = [pair.split(":") for pair in text.split(",")]
        return tuple((int(low), int(high)) for low, high in low_high)
    raise ValueError(f"an option is like 2, 2,1, SAME, True or 0:1,0:1; got {text!r}")


def parse_shape(op: str, network: str, arrays: str, options: str = "") -> Shape:
    """Read the cells of a line of `SHAPES`.

    Raises:
        ValueError: if an array or an option cannot be read.
    """
    pairs = [option.split("=") for option in options.split()]
    return Shape(
        op,
        network,
        tuple(map(parse_array, arrays.split())),
        {name: parse_option(value) for name, value in pairs},
    )


def all_shapes() -> list[Shape]:
    """`SHAPES`, read."""
    lines = SHAPES.strip().splitlines()
    return [parse_shape(*re.split("  +", line)) for line in lines]
