"""Results of benchmarks that nobody measured, for tests of what is said of them."""

from benchmarks.results import Cost, Row


def row(case="conv 1 2", kind="vjp", ratio=2.0, spread=0.1, group="conv", network="Net"):
    low, high = ratio - spread / 2, ratio + spread / 2
    return Row(case, network, group, kind, 1e-3 * ratio, 1e-3, low, ratio, high)


STEPS = [
    row("mlp", "flax", 2.0, 0.1, "steps", "batch 1,2"),
    row("mlp", "haiku", 1.0, 0.1, "steps", "batch 1,2"),
    row("mlp", "pytorch", 0.5, 0.1, "steps", "batch 1,2"),
    row("cnn", "flax", 4.0, 0.1, "steps", "batch 3,4"),
]


COSTS = [
    Cost("flax compile", 2.0, 1.0, "mlp"),
    Cost("haiku compile", 3.0, 1.0, "mlp"),
    Cost("flax temp", 2e6, 1e6, "cnn"),
]
