"""The shapes that are timed are valid, read back, and belong to a line of the summary."""

import jax
import jax.numpy as jnp
import pytest

from benchmarks.ops.cases import describe
from benchmarks.ops.shapes import Shape, all_shapes, parse_option, parse_shape, shown
from benchmarks.ops.summary import GOALS

SHAPES = all_shapes()


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_shapes_are_valid(shape):
    case = describe(shape)
    rival = jax.eval_shape(case.plain, *case.args)
    assert jax.tree.structure(rival) == jax.tree.structure(case.dy)
    for theirs, dy in zip(jax.tree.leaves(rival), jax.tree.leaves(case.dy), strict=True):
        assert (theirs.shape, theirs.dtype) == (dy.shape, dy.dtype)
        assert dy.dtype == jnp.float32


def test_shapes_are_many_and_told_apart():
    assert len(SHAPES) >= 60
    assert len({shape.name for shape in SHAPES}) == len(SHAPES)
    assert {group for group, _ in GOALS} <= {shape.group for shape in SHAPES}


def test_shapes_read_back():
    for shape in SHAPES:
        arrays = [word for word in shape.spec.split() if "=" not in word]
        options = [word for word in shape.spec.split() if "=" in word]
        back = parse_shape(shape.op, shape.network, " ".join(arrays), " ".join(options))
        assert back == shape


@pytest.mark.parametrize("value", [2, True, False, (2, 1), "SAME", ((0, 1), (2, 0))])
def test_options_read_back(value):
    back = parse_option(shown(value))
    assert (type(back), back) == (type(value), value)


def test_depthwise_and_grouped_convolutions_are_groups_of_their_own():
    shapes = {n: ((1, 4, 4, 6), (3, 3, 6 // n, 6)) for n in (1, 2, 6)}
    groups = [Shape("conv", "", a, {"groups": n}).group for n, a in shapes.items()]
    assert groups == ["conv", "grouped conv", "depthwise"]
