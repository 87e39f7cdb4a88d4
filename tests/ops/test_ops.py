"""Every claim about every op, on every case that its file declares."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnn import ops, verify
from funcnn.verify.functions import _subject
from funcnn.verify.programs import _programs

OPS = verify.discover()
CASES = [
    pytest.param(op, case, args, id=f"{op.name}: {case}")
    for op in OPS
    for case, args in op.cases(np.random.default_rng(0)).items()
]


@pytest.mark.parametrize("op, case, args", CASES)
def test_every_claim_holds(op, case, args):
    rows = verify.judge(op, case, args)
    assert [row.claim for row in rows] == list(verify.CLAIMS)
    verify.Report(op.name, tuple(rows)).raise_if_failed()


@pytest.mark.parametrize("op, case, args", CASES)
def test_autodiff_of_the_forward_pass_agrees_with_the_rule(op, case, args):
    """So that `verify.compare` is not misled at kinks, where they might choose apart."""
    p = _subject.problem(op.apply, args)
    if not all(np.isfinite(a).all() for a in p.leaves):
        pytest.skip("infinite arguments, where autodiff may well give NaN")
    plain = _subject.problem(verify.autodiff(op.apply), args)
    outputs = jax.eval_shape(p.f, *p.leaves)
    dys = [dy[0] for dy in _subject.cotangents(outputs, seed=0)]

    @_programs.jit
    def both(leaves, dys):
        return [_subject.pullback(f, leaves, dys) for f in (p.f, plain.f)]

    for got, want in zip(*both(p.leaves, dys), strict=True):
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


def tampered(op, slot, fault):
    """The op with a fault in the cotangent of one argument."""

    @jax.custom_vjp
    def same(a):
        return a

    same.defvjp(lambda a: (a, None), lambda _, ct: (fault(ct).astype(ct.dtype),))

    def apply(*args):
        args = list(args)
        args[slot] = same(jnp.asarray(args[slot]))
        return op.apply(*args)

    return op._replace(apply=apply)


def telling(op):
    """A case on which every fault shows: all cotangents of several distinct numbers."""
    for args in op.cases(np.random.default_rng(0)).values():
        floats = [a for a in args if _subject.is_float(a)]
        if floats and all(a.size > 1 and np.isfinite(a).all() for a in floats):
            return args
    raise AssertionError(f"{op.name} needs a case that can tell faults apart")


PLANTED = [
    pytest.param(op, slot, fault, id=f"{op.name}, argument {slot}, {fault.__name__}")
    for op in OPS
    for slot, a in enumerate(telling(op))
    if _subject.is_float(a)
    for fault in FAULTS
]


@pytest.mark.parametrize("op, slot, fault", PLANTED)
def test_a_fault_in_the_rule_is_caught(op, slot, fault):
    claims = {name: verify.CLAIMS[name] for name in ("vjp", "diff")}
    rows = verify.judge(tampered(op, slot, fault), "", telling(op), claims=claims)
    assert all(row.failure and "cotangent of" in row.failure for row in rows), rows


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
def test_a_wrong_dtype_is_caught(op):
    slot = next(i for i, a in enumerate(telling(op)) if _subject.is_float(a))

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
