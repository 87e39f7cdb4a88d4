"""Every claim about every op, on every case that its file declares."""

import functools
import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnn import ops, verify
from funcnn.verify.check._check import examine
from funcnn.verify.functions._cotangents import cotangents, pullback
from funcnn.verify.functions._split import SplitArguments, cast, is_float, problem
from funcnn.verify.programs._interpret import interpreted
from funcnn.verify.programs._one_by_one import one_by_one

OPS = verify.discover()
CASES = [
    pytest.param(op, case, args, id=f"{op.name}: {case}")
    for op in OPS
    for case, args in op.cases(np.random.default_rng(0)).items()
]
CLAIMS = verify.CLAIMS


class Judge:
    """Judges a case after the other; those that differ in numbers alone share programs."""

    def __init__(self):
        self.name, self.evidence = None, []

    def __call__(self, op, case, args, claims=CLAIMS, name=None):
        if self.name != (name or op.name):  # keep no other op's
            self.name, self.evidence = name or op.name, []
        split = SplitArguments(op.apply, cast(args, jnp.float64))
        like = next((e for e in self.evidence if e.exact.split.fits(split)), None)
        verdict = examine(op, case, args, claims=claims, like=like)
        if verdict.evidence and not like:
            self.evidence.append(verdict.evidence)
        return verdict.rows


judged = Judge()


@pytest.mark.parametrize("op, case, args", CASES)
def test_every_claim_holds(op, case, args):
    rows = judged(op, case, args)
    assert [row.claim for row in rows] == list(CLAIMS)
    verify.Report(op.name, tuple(rows)).raise_if_failed()


@pytest.mark.parametrize("op, case, args", CASES)
def test_autodiff_of_the_forward_pass_agrees_with_the_rule(op, case, args):
    """So that `verify.compare` is not misled at kinks, where they might choose apart."""
    p = problem(op.apply, args)
    if not all(np.isfinite(a).all() for a in p.leaves):
        pytest.skip("infinite arguments, where autodiff may well give NaN")
    plain = problem(verify.autodiff(op.apply), args)
    outputs = jax.eval_shape(p.f, *p.leaves)
    dys = [dy[0] for dy in cotangents(outputs, seed=0)]

    def both(leaves, dys):
        return [pullback(f, leaves, dys) for f in (p.f, plain.f)]

    for got, want in zip(*interpreted(both)(p.leaves, dys), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
def test_every_op_has_its_derivation(op):
    module = importlib.import_module(op.apply.__module__)
    for part in ("**Forward.**", "**Backward.**", "**Residuals.**"):
        assert part in module.__doc__
    for section in ("Raises:", "shape"):
        assert section in op.apply.__doc__


def test_what_is_exported_are_the_ops():
    by_name = {op.name: op.apply for op in OPS}
    exported = {name: f for name, f in vars(ops).items() if not name.startswith("_")}
    assert exported.items() <= by_name.items()
    assert len(exported) >= 24


# --- faults planted in every rule -----------------------------------------------------


def factor(ct):
    return 1.001 * ct


def sign(ct):
    return -ct


def dropped(ct):
    return 0 * ct


def one_element(ct):
    at = np.unravel_index(ct.size // 2, ct.shape)
    return ct.at[at].add(1e-3 * (1 + jnp.abs(ct).max()))


def of_another_row(ct):
    return jnp.roll(ct, 1)


FAULTS = [factor, sign, dropped, one_element, of_another_row]


@functools.cache
def tampered(op):
    """The op with one argument more: which other argument's cotangent has which fault.

    These are numbers, so that one program serves all faults of all arguments.
    """

    def bwd(residuals, ct):
        plan, slot = residuals
        branches = [
            lambda ct: ct,
            *(lambda ct, f=f: f(ct).astype(ct.dtype) for f in FAULTS),
        ]
        return (
            jax.lax.switch(jnp.where(plan[0] == slot, 1 + plan[1], 0), branches, ct),
            None,
            None,
        )

    @jax.custom_vjp
    def same(a, plan, slot):
        return a

    same.defvjp(lambda a, plan, slot: (a, (plan, slot)), bwd)

    def apply(plan, *args):
        return op.apply(
            *(
                same(jnp.asarray(a), plan, slot) if is_float(a) else a
                for slot, a in enumerate(args)
            )
        )

    def reference(plan, *args):
        return op.reference(*args)

    return op._replace(apply=apply, reference=reference)


@functools.cache
def telling(op):
    """A case on which every fault shows: all cotangents of several distinct numbers."""
    for args in op.cases(np.random.default_rng(0)).values():
        floats = [a for a in args if is_float(a)]
        if floats and all(a.size > 1 and np.isfinite(a).all() for a in floats):
            return args
    raise AssertionError(f"{op.name} needs a case that can tell faults apart")


PLANTED = [
    pytest.param(op, slot, fault, id=f"{op.name}, argument {slot}, {fault.__name__}")
    for op in OPS
    for slot, a in enumerate(telling(op))
    if is_float(a)
    for fault in FAULTS
]
FIRST_ORDER = {name: CLAIMS[name] for name in ("vjp", "diff")}


@pytest.mark.parametrize("op, slot, fault", PLANTED)
def test_a_fault_in_the_rule_is_caught(op, slot, fault):
    args = np.array([slot, FAULTS.index(fault)]), *telling(op)
    rows = judged(tampered(op), "", args, FIRST_ORDER, f"faulty {op.name}")
    assert all(row.failure and "cotangent of" in row.failure for row in rows), rows


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
def test_without_a_fault_nothing_is_caught(op):
    args = np.array([-1, 0]), *telling(op)
    rows = judged(tampered(op), "", args, FIRST_ORDER, f"faulty {op.name}")
    assert not any(row.failure for row in rows), rows


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
def test_without_jit_jax_finds_what_the_claim_does(op):
    """Which lets NumPy run the operations, where JAX runs programs of some of them."""
    p = problem(op.apply, telling(op))
    dys = [dy[0] for dy in cotangents(jax.eval_shape(p.f, *p.leaves), seed=0)]
    leaves, dys = jax.tree.map(jnp.asarray, (p.leaves, dys))
    found = pullback(p.f, leaves, dys)
    for got, want in zip(
        one_by_one(lambda: pullback(p.f, leaves, dys)), found, strict=True
    ):
        np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
def test_a_wrong_dtype_is_caught(op):
    slot = next(i for i, a in enumerate(telling(op)) if is_float(a))

    @jax.custom_vjp
    def same(a):
        return a

    def bwd(_, ct):  # right in the dtype of the cases, wrong in bfloat16
        return (ct.astype(jnp.float32) if ct.dtype == jnp.bfloat16 else ct,)

    same.defvjp(lambda a: (a, None), bwd)

    def apply(*args):
        args = list(args)
        args[slot] = same(jnp.asarray(args[slot]))
        return op.apply(*args)

    claims = {"types": verify.CLAIMS["types"]}
    (row,) = verify.judge(op._replace(apply=apply), "", telling(op), claims=claims)
    assert "float32" in row.failure
    assert "bfloat16" in row.failure
