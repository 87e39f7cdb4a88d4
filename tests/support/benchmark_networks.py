"""Small networks with every kind of layer that benchmarks train."""

from benchmarks.steps import parts
from benchmarks.steps.models import Model, transformer

NETWORK = Model(
    (
        *(parts.Conv(4, 3, 2), parts.GroupNorm(2), parts.Act("relu")),
        parts.Residual((parts.Conv(4, 3, 1, 4), parts.LayerNorm(), parts.Act("gelu"))),
        parts.Residual((parts.Conv(6, 2, 2),), (parts.Conv(6, 1, 2),)),
        *(parts.MaxPool(2), parts.Flatten(), parts.LayerNorm(), parts.Dense(10)),
    ),
    (5, 16, 16, 3),
)


TOKENS = transformer(16, heads=2, depth=1, length=12, batch=3, vocabulary=13)


POOLED = Model((parts.Conv(4, 3), parts.GlobalPool(), parts.Dense(10)), (5, 6, 6, 3))
