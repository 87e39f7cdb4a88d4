"""Arguments made from a line of text, for the command line and for tests."""

import ast
import math
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

DTYPES: dict[str, Any] = {
    "f64": np.float64,
    "f32": np.float32,
    "bf16": jnp.bfloat16,
    "f16": np.float16,
    **{f"{kind[0]}{n}": f"{kind}{n}" for kind in ("int", "uint") for n in (8, 16, 32, 64)},
    "bool": np.bool_,
}
GRAMMAR = """\
f32[4,8]                random numbers, standard normal; f32[] is a scalar
f32[4]>0  f32[4]<1      above 0; below 1; f32[4]>0<1 is uniform between them
f32[4]*1e3              multiplied by 1000
i32[4]<10               integers from 0 to 9; i32[4]>-3<3 is -2 to 2
{"w": f32[3,4], "b": (f32[], None)}   dicts, tuples, lists
key                     a PRNG key
0.5  2  'SAME'  (1, 2)  other Python literals, which are held fixed"""

STRING = r"'[^']*'|\"[^\"]*\""
ARRAY = r"\b(?P<dtype>[a-z]\w*)\[(?P<shape>[^\[\]]*)\](?P<limits>[^\s,)\]}]*)"
NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?"
LIMITS = rf"(?:>({NUMBER}))?(?:<({NUMBER}))?(?:\*({NUMBER}))?"


def arguments(spec: str, seed: int = 0) -> tuple:
    """Make the arguments that a line of text describes, with random numbers in the arrays.

    Arguments are separated by spaces or commas. An array is a dtype (`f64 f32 bf16 f16 i8
    i16 i32 i64 u8 u16 u32 u64 bool`) and a shape, and perhaps limits:

    >>> from funcnn import verify
    >>> params, ids, rate = verify.arguments("{'w': f32[2,3], 'b': f32[]>0} i32[5]<9 0.1")
    >>> params["w"].shape, params["b"].dtype, ids.shape, rate
    ((2, 3), dtype('float32'), (5,), 0.1)

    Floats are standard normal. `f32[4]>0` is above 0, `f32[4]<1` below 1, `f32[4]>0<1`
    uniform between the two, and `f32[4]*1e3` multiplied by 1000. Integers are from 0 to 9
    unless limited: `i32[4]<3` is 0 to 2 and `i32[4]>-3<3` is -2 to 2. Where there are
    several integers or booleans, they are not all the same. `key` is a PRNG key. Dicts,
    tuples and lists may hold all of these. Everything else is a Python literal, such as
    `0.5`, `'SAME'` or `None`, and held fixed by the verifier.

    Args:
        spec: what to make, such as `"f32[4,8] f32[8] i32[4]<10"`.
        seed: of the random numbers.

    Returns:
        The arguments, a tuple. Arrays are NumPy's.

    Raises:
        ValueError: pointing at what cannot be read.
    """
    rng = np.random.default_rng(seed)
    return tuple(_argument(spec, start, end, rng, seed) for start, end in _split(spec))


def _split(spec):
    """Start and end of each argument: they are separated outside of brackets only."""
    depth, start = 0, None
    for m in re.finditer(rf"{STRING}|[\s,]+|.", spec):
        if depth <= 0 and re.fullmatch(r"[\s,]+", m[0]):
            if start is not None:
                yield start, m.start()
            start = None
        elif start is None:
            start = m.start()
        depth += (m[0] in ("(", "[", "{")) - (m[0] in (")", "]", "}"))
    if start is not None:
        yield start, len(spec)


def _argument(spec, start, end, rng, seed):
    """Arrays give way to names just as long, and Python reads what then is there."""
    arrays: dict = {}

    def name(m):
        if m["dtype"] is None:  # a string
            return m[0]
        key = f"_{len(arrays)}".ljust(len(m[0]), "_")
        try:
            arrays[key] = _array(rng, m["dtype"], m["shape"], m["limits"])
        except ValueError as error:
            raise _unreadable(spec, start + m.start(), start + m.end(), error) from None
        return key

    def value(node):
        match node:
            case ast.Dict(keys=keys, values=values) if None not in keys:
                return dict(zip(map(value, keys), map(value, values), strict=True))
            case ast.Tuple(elts=elements):
                return tuple(map(value, elements))
            case ast.List(elts=elements):
                return list(map(value, elements))
            case ast.Name(id=found) if found in arrays:
                return arrays[found]
            case ast.Name(id="key"):
                return jax.random.key(seed)
            case ast.Name(id=found) if found in DTYPES:
                why = f"its shape is missing, as in {found}[4,8], or {found}[] for a scalar"
            case ast.Name(id=found):
                why = f"strings are quoted, '{found}', and arrays have a shape, f32[4,8]"
            case _:
                try:
                    return ast.literal_eval(node)
                except ValueError:
                    why = "it is neither an array nor a Python literal"
        at = start + node.col_offset, start + node.end_col_offset
        raise _unreadable(spec, *at, why)

    text = re.sub(rf"{STRING}|{ARRAY}", name, spec[start:end])
    try:
        tree = ast.parse(re.sub(r"\s", " ", text), mode="eval")
    except SyntaxError as error:
        raise _unreadable(spec, start, end, error.msg) from None
    return value(tree.body)


def _unreadable(spec, start, end, why):
    line = re.sub(r"\s", " ", spec)
    marks = " " * start + "^" * (end - start)
    return ValueError(f"cannot read {line[start:end]}: {why}\n  {line}\n  {marks}")


def _array(rng, dtype, shape, limits):
    if dtype not in DTYPES:
        raise ValueError(f"there is no dtype {dtype}, only {' '.join(DTYPES)}")
    if not re.fullmatch(r"\s*|\s*\d+\s*(,\s*\d+\s*)*,?\s*", shape):
        raise ValueError(f"[{shape}] is no shape; [4,8] is, or [] for a scalar")
    numbers = re.fullmatch(LIMITS, limits)
    if not numbers:
        raise ValueError("after the shape come limits, >0 <1 >0<1, or a factor, *1e3")
    low, high, factor = (None if n is None else float(n) for n in numbers.groups())
    draw = _floats if jnp.issubdtype(DTYPES[dtype], jnp.floating) else _integers
    size = tuple(map(int, re.findall(r"\d+", shape)))
    return draw(rng, size, np.dtype(DTYPES[dtype]), low, high, factor)


def _floats(rng, shape, dtype, low, high, factor):
    def draw():
        if low is not None and high is not None:
            a = rng.uniform(low, high, shape)
        elif low is not None:
            a = low + rng.lognormal(size=shape)
        elif high is not None:
            a = high - rng.lognormal(size=shape)
        else:
            a = rng.standard_normal(shape)
        return np.asarray(a, dtype)

    if low is not None and high is not None and low >= high:
        raise ValueError(f"nothing is above {low:g} and below {high:g}")
    a = draw()
    for _ in range(100):  # rounding may reach the ends
        exact = np.asarray(a, np.float64)
        beyond = False if low is None else exact <= low
        beyond |= False if high is None else exact >= high
        if not np.any(beyond):
            return a if factor is None else np.asarray(factor * exact, dtype)
        a = np.where(beyond, draw(), a)
    raise ValueError(f"{dtype} has next to no numbers in these limits")


def _integers(rng, shape, dtype, low, high, factor):
    if factor is not None:
        raise ValueError("only floats take a factor")
    count = 2 if dtype == np.bool_ else 10
    if low is None:
        low = -1 if high is None or high > 0 else high - count - 1
    first = math.floor(low) + 1
    last = first + count - 1 if high is None else math.ceil(high) - 1
    if first > last:
        raise ValueError(f"no integer is above {low:g} and below {high:g}")
    while True:
        a = np.asarray(rng.integers(first, last, shape, dtype, endpoint=True), dtype)
        if a.size < 2 or first == last or a.min() < a.max():
            return a
