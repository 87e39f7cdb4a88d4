"""An op and the plain formulation that it is timed against compute the same."""

from contextlib import contextmanager
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.ops.cases import DisagreementError, agree, draw, program
from benchmarks.ops.shapes import Shape, all_shapes, parse_shape

SPATIAL = ("conv", "conv_transpose", "max_pool", "avg_pool", "group_norm", "im2col")


def shrunk(shape):
    """The same with less of everything, but for strides, dilations and paddings."""
    op, options = shape.op, dict(shape.options)
    first, *rest = shape.arrays
    if op == "col2im":
        options["shape"], first = (2, 5, 5, 4), (2, 5, 5, 36)
    elif op == "attention":  # as many queries to a key head, and longer keys if they were
        keys = 5 if first[1] == rest[0][1] else 7
        rest = [(2, keys, 4 * rest[0][2] // first[2], 3)]
        first = (2, 5, 4, 3)
        options |= {"window": 2} if "window" in options else {}
    elif op in SPATIAL:
        wide = 4
        if "groups" in options:
            options["groups"] = 4 if shape.group == "depthwise" else 2
        inputs = wide // options.get("groups", 1)
        kernel = [min(n, 3) for n in rest[0][:-2]] if rest else []
        rest = [(*kernel, inputs, 4)] if rest else []
        span = 2 * options.get("dilation", 1) + 3
        first = (2, *(min(n, span) for n in first[1:-1]), wide)
        if op.endswith("pool"):
            options["window"] = min(options["window"], 3)
    else:
        first, *rest = (tuple(min(n, 4) for n in array) for array in shape.arrays)
    return Shape(op, shape.network, (first, *rest), options)


SMALL = {small.name: small for small in map(shrunk, all_shapes())}


def told_by(shape):
    """What of the op's arguments a shape tries: options, ranks, and which sizes differ."""
    tried = {*shape.options, shape.options.get("padding", "SAME")}
    if shape.op in SPATIAL:
        tried.add(len(shape.arrays[0]))
    if shape.op == "attention":
        queries, keys = shape.arrays
        tried |= {f"size {i}" for i in range(4) if queries[i] != keys[i]}
    return tried


def axes(shape):
    return sum(map(len, shape.arrays))


def covering(shapes):
    """Few of an op's shapes that together try all that all of them try."""
    wanted, found = set().union(*map(told_by, shapes)), []
    while wanted:
        found.append(max(shapes, key=lambda s: (len(told_by(s) & wanted), axes(s))))
        wanted -= told_by(found[-1])
    return found


BY_OP = {
    shape.op: [s for s in SMALL.values() if s.op == shape.op] for shape in SMALL.values()
}
FEW = {op: covering(shapes) for op, shapes in BY_OP.items()}
OTHERS = {op: [s for s in shapes if s not in FEW[op]] for op, shapes in BY_OP.items()}


@pytest.mark.parametrize(
    ("op", "shapes"),
    [
        *(pytest.param(op, shapes, id=op) for op, shapes in FEW.items()),
        *(
            pytest.param(op, shapes, id=f"{op}, others", marks=pytest.mark.exhaustive)
            for op, shapes in OTHERS.items()
            if shapes
        ),
    ],
)
def test_plain_formulation_is_the_op(op, shapes):
    """In one program for all shapes of an op, compiled without effort."""
    cases = [draw(shape) for shape in shapes]

    def both(case, args, dy):
        return [
            {kind: program(f, case, kind)(args, dy) for kind in ("forward", "vjp")}
            for f in (case.mine, case.plain)
        ]

    @partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
    def every(given):
        return [both(case, *pair) for case, pair in zip(cases, given, strict=True)]

    results = every([(case.args, case.dy) for case in cases])
    for shape, case, (mine, rival) in zip(shapes, cases, results, strict=True):
        with told_of(shape):
            agree(mine, rival, bound=1e-5)
            assert set(rival["vjp"]) == {*case.names} - {"labels", "ids"}


@contextmanager
def told_of(shape):
    """Let an error say which shape it is about."""
    try:
        yield
    except (AssertionError, DisagreementError) as error:
        error.add_note(shape.name)
        raise


def test_few_shapes_try_what_all_try():
    for op, shapes in BY_OP.items():
        tried = [set().union(*map(told_by, some)) for some in (FEW[op], shapes)]
        assert tried[0] == tried[1]
    assert [s.spec for s in FEW["softplus"]] == ["4,4"]
    assert sum(map(len, FEW.values())) < 0.7 * len(SMALL)


def test_gradients_of_one_argument_are_those_of_all():
    case = draw(parse_shape("conv", "", "2,5,5,3 3,3,3,4"))
    for f in (case.mine, case.plain):
        vjp, weight, x = (
            program(f, case, kind)(case.args, case.dy)
            for kind in ("vjp", "filter", "input")
        )
        agree(weight | x, {name: vjp[name] for name in ("weight", "x")}, bound=1e-6)
        assert (*weight, *x) == ("weight", "x")


def test_every_op_with_a_shape_has_a_small_one():
    assert BY_OP.keys() == {shape.op for shape in all_shapes()}


def test_arguments_are_not_at_their_initial_values():
    case = draw(parse_shape("layer_norm", "", "4,8"))
    for name, array in zip(case.names, case.args, strict=True):
        assert array.dtype == np.float32
        assert np.std(array) > 0.1, name


def test_disagreement_is_seen():
    right = {"x": jnp.arange(3.0), "weight": jnp.ones(2)}
    agree(right, right)
    with pytest.raises(DisagreementError, match=r"weight differs by 2\.0e-03"):
        agree(right | {"weight": jnp.array([1, 1.002])}, right)
    with pytest.raises(DisagreementError, match="x differs by nan"):
        agree(right | {"x": jnp.full(3, jnp.nan)}, right)
    with pytest.raises(DisagreementError, match="the value differs"):
        agree(jnp.ones(2), jnp.zeros(2))
