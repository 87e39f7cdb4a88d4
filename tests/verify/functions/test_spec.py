"""Arguments made from a line of text."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnn import verify

DTYPES = {
    "f64": jnp.float64, "f32": jnp.float32, "bf16": jnp.bfloat16, "f16": jnp.float16,
    "i8": jnp.int8, "i16": jnp.int16, "i32": jnp.int32, "i64": jnp.int64,
    "u8": jnp.uint8, "u16": jnp.uint16, "u32": jnp.uint32, "u64": jnp.uint64,
    "bool": jnp.bool_,
}  # fmt: skip


@pytest.mark.parametrize("name", DTYPES)
def test_dtypes_and_shapes(name):
    for shape in ((), (5,), (2, 3), (0, 4), (2, 1, 3)):
        (a,) = verify.arguments(f"{name}[{','.join(map(str, shape))}]")
        assert a.shape == shape
        assert a.dtype == DTYPES[name]
        assert a.size < 2 or a.min() < a.max()


@pytest.mark.parametrize(
    "limits, low, high",
    [(">0", 0, np.inf), (">2.5", 2.5, np.inf), ("<1", -np.inf, 1), ("<-1e2", -np.inf, -100),
     (">0<1", 0, 1), (">-1<-.5", -1, -0.5), (">1e3<1.1e3", 1e3, 1.1e3)],
)  # fmt: skip
@pytest.mark.parametrize("dtype", ["f64", "f32", "f16", "bf16"])
def test_floats_keep_to_their_limits(dtype, limits, low, high):
    (a,) = verify.arguments(f"{dtype}[1000]{limits}")
    a = np.asarray(a, np.float64)
    assert ((a > low) & (a < high)).all()
    if np.isfinite(high - low):
        assert np.ptp(a) > 0.8 * (high - low)


def test_floats_are_standard_normal_times_a_factor():
    a, b = verify.arguments("f64[10000] f32[10000]*1e3")
    for x, size in ((a, 1), (b, 1000)):
        assert abs(x.mean()) < 0.05 * size
        assert abs(x.std() - size) < 0.05 * size


@pytest.mark.parametrize(
    "spec, numbers",
    [("i32[500]<10", range(10)), ("u8[500]", range(10)), ("i64[500]>-3<3", range(-2, 3)),
     ("i8[500]>4", range(5, 15)), ("i32[500]<-3", range(-13, -3)), ("bool[99]", range(2)),
     ("i32[9]<1", range(1)), ("i32[500]>0.5<3.5", range(1, 4))],
)  # fmt: skip
def test_integers_take_every_value_in_their_limits(spec, numbers):
    (a,) = verify.arguments(spec)
    assert {*map(int, a)} == {*numbers}


@pytest.mark.parametrize("spec", ["i32[2]<2", "bool[2]", "u8[2]>0<3"])
def test_several_integers_are_never_all_the_same(spec):
    for seed in range(20):
        (a,) = verify.arguments(spec, seed)
        assert a.min() < a.max()


def test_a_seed_gives_the_same_numbers_in_other_arrays_others():
    first, again, other = (verify.arguments("f32[4] f32[4]", seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (np.stack(first) != np.stack(other)).all()
    assert (first[0] != first[1]).all()


def test_all_else_is_a_literal():
    spec = (
        """0.5 2 -1 1e-3 'SAME' "two words" None True (1, 2) [3, 'x, y'] {'a': -1} b'c'"""
    )
    assert verify.arguments(spec) == (
        0.5, 2, -1, 1e-3, "SAME", "two words", None, True, (1, 2), [3, "x, y"],
        {"a": -1}, b"c",
    )  # fmt: skip
    assert verify.arguments("") == ()
    assert verify.arguments("'f32[3] key' , 1,\n2") == ("f32[3] key", 1, 2)


def test_trees_hold_arrays_keys_and_literals():
    spec = "{'w': f32[3,4], \"b\": (f32[4]>0, None), 'n': [i32[2]<3, 'key', key]} (f32[],)"
    tree, pair = verify.arguments(spec)
    assert tree["w"].shape == (3, 4)
    assert tree["b"][0].min() > 0
    assert tree["b"][1] is None
    assert tree["n"][0].dtype == np.int32
    assert tree["n"][1] == "key"
    assert jnp.issubdtype(tree["n"][2].dtype, jax.dtypes.prng_key)
    assert isinstance(pair, tuple)
    assert pair[0].shape == ()
    assert verify.arguments("(f32[2])")[0].shape == (2,)


def test_many_arrays_in_one_tree_are_not_mixed_up():
    (tree,) = verify.arguments(f"[{', '.join(f'i8[{n}]' for n in range(120))}]")
    assert [a.size for a in tree] == list(range(120))


@pytest.mark.parametrize(
    "spec, at, why",
    [
        ("f32[4,8] f33[8]", "f33[8]", "no dtype f33, only f64 f32"),
        ("{'a': f32[4], 'b': int[2]}", "int[2]", "no dtype int"),
        ("f32[4,x]", "f32[4,x]", r"\[4,x\] is no shape"),
        ("f32[-1]", "f32[-1]", "is no shape"),
        ("f32 f32[3]", "f32", r"f32\[4,8\], or f32\[\] for a scalar"),
        ("f32[3] SAME", "SAME", "quoted, 'SAME'"),
        ("(f32[3], relu)", "relu", "quoted, 'relu'"),
        ("f32[3]>=0", "f32[3]>=0", "limits"),
        ("f32[3]<1>0", "f32[3]<1>0", "limits"),
        ("f32[3]>2<1", "f32[3]>2<1", "above 2 and below 1"),
        ("f16[3]>999.9<999.99", "f16[3]>999.9<999.99", "float16 has next to no numbers"),
        ("i32[3]>0<1", "i32[3]>0<1", "no integer is above 0 and below 1"),
        ("i32[3]*2", "i32[3]*2", "only floats"),
        ("u8[3]<1000", "u8[3]<1000", "out of bounds for uint8"),
        ("1 + 1", "+", "syntax"),
        ("a+b", "a+b", "neither an array nor a Python literal"),
        ("open('x')", "open('x')", "neither"),
        ("{f32[3]}", "{f32[3]}", "neither"),
        ("1 f32[3", "f32[3", "closed"),
        ("1 (2))", "(2))", "unmatched"),
    ],
)
def test_what_cannot_be_read_is_pointed_at(spec, at, why):
    with pytest.raises(ValueError, match=why) as found:
        verify.arguments(spec)
    first, line, marks = str(found.value).splitlines()
    assert first.startswith(f"cannot read {at}: ")
    start = marks.index("^")
    assert line[start : start + marks.count("^")] == at
