"""What is compiled for one set of arguments serves others, and changes no verdict."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnn import ops, verify
from funcnn.verify.check._check import examine
from funcnn.verify.check._ops import _alike
from funcnn.verify.functions._op import Op
from funcnn.verify.functions._split import SplitArguments


def verdicts(f, reference, several, share):
    """The rows of one check after the other, and how many sets of programs they took."""
    op = Op("f", f, reference, lambda rng: {})
    found, like = [], None
    for seed, args in enumerate(several):
        verdict = examine(op, "", args, seed, literal=False, like=like)
        found.append(verdict)
        like = verdict.evidence if share else None
    programs = {id(verdict.evidence.exact.programs) for verdict in found}
    return [verdict.rows for verdict in found], len(programs)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_verdicts_are_those_of_programs_of_their_own(dtype):
    # right where x is negative alone, and in float64 with integers that differ
    @jax.custom_vjp
    def f(x, i, scale):
        return x[i] ** 2 * scale

    def bwd(residuals, dy):
        x, i, scale = residuals
        slope = jnp.where(x > 0, 3, 2) * x
        dx = slope * scale * jnp.zeros_like(x).at[i].add(dy)
        return dx, None, jnp.sum(x[i] ** 2 * dy).astype(scale.dtype)

    f.defvjp(lambda *args: (f(*args), args), bwd)
    rng = np.random.default_rng(0)
    several = [
        (sign * rng.uniform(1, 2, 4).astype(dtype), rng.integers(0, 4, 3), dtype(s))
        for sign, s in ((-1, 2), (1, 3), (-1, 1))
    ]
    several = [(x, i, np.asarray(s)) for x, i, s in several]
    own, many = verdicts(f, None, several, share=False)
    shared, one = verdicts(f, None, several, share=True)
    assert (many, one) == (3, 1)
    assert shared == own
    alarms = [any(row.failure for row in rows) for rows in shared]
    assert alarms == [False, True, False]


def test_static_values_and_shapes_get_programs_of_their_own():
    x = np.ones(3)
    several = [(x, 0.5), (2 * x, 0.25), (np.ones(4), 0.25)]
    shared, count = verdicts(ops.leaky_relu, None, several, share=True)
    assert count == 3
    assert not any(row.failure for rows in shared for row in rows)


def test_arguments_fit_when_only_their_numbers_differ():
    def split(*args):
        return SplitArguments(lambda x, other: x, args)

    x = np.ones(3)
    assert split(x, 2).fits(split(2 * x, 2))
    assert split(x, np.arange(3)).fits(split(x, np.ones(3, int)))
    for other in (3, 2.0, "2", None, [2], np.ones(2), np.ones(2, np.float32)):
        assert not split(x, 2).fits(split(x, other))
    assert not split(x, np.ones(2)).fits(split(x, np.ones(2, np.float32)))
    assert split(x, jnp.tanh).fits(split(x, jnp.tanh))
    assert not split(x, jnp.tanh).fits(split(x, jnp.sin))


def test_between_them_the_cases_of_an_op_batch_each_argument_alone():
    # a case batches one argument by itself, or the cotangents, in turn with the others
    for op in verify.discover():
        with jax.enable_x64(True):
            cases = op.cases(np.random.default_rng(0))
            groups = max(
                len(SplitArguments(op.apply, args).groups) for args in cases.values()
            )
            assert len(_alike(op, cases)) > groups, op.name
