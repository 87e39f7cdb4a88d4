"""A sequence of parts where modules are called as they are made: in Flax and in Haiku."""

import jax

from benchmarks.steps import parts

ACTIVATIONS = {"relu": jax.nn.relu, "gelu": jax.nn.gelu}


def run(sequence, x, names, call):
    """`x` through the parts of a sequence, one after the other.

    Args:
        sequence: of parts.
        x: the first one's input, channels last.
        names: for the parts that have parameters, in order.
        call: `call(part, x, names)` runs a part by the library's own layer.
    """
    for part in sequence:
        match part:
            case parts.Residual(body, shortcut):
                y = run(body, x, names, call)
                x = y + run(shortcut, x, names, call)
            case parts.Act(name):
                x = ACTIVATIONS[name](x)
            case parts.GlobalPool():
                x = x.mean((1, 2))
            case parts.Flatten():
                x = x.reshape(len(x), -1)
            case _:
                x = call(part, x, names)
    return x
