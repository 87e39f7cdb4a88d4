"""Norms, ratios and faults by path."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnn import optim

GRADS = {"stem": {"w": jnp.asarray([3.0, 4.0]), "b": None}, "head": jnp.asarray([12.0])}
PARAMS = {"stem": {"w": jnp.asarray([30.0, 40.0]), "b": None}, "head": jnp.zeros(1)}
STEM, HEAD = "['stem']['w']", "['head']"


def test_what_is_reported():
    got = jax.jit(optim.health)(GRADS, GRADS, PARAMS)
    assert {name: float(value) for name, value in got.items()} == {
        "grad_norm": 13,
        "nonfinite": 0,
        f"grad_norm/{STEM}": 5,
        f"grad_norm/{HEAD}": 12,
        f"nonfinite/{STEM}": 0,
        f"nonfinite/{HEAD}": 0,
        "update_norm": 13,
        f"update_ratio/{STEM}": pytest.approx(0.1),
        f"update_ratio/{HEAD}": np.inf,
    }


def test_faults_by_path():
    bad = {
        "a": jnp.asarray([1.0, np.nan, np.inf]),
        "b": jnp.ones(2),
        "c": (jnp.asarray(-np.inf),),
    }
    assert optim.nonfinite_paths(bad) == ["['a']", "['c'][0]"]
    assert [int(n) for n in optim.nonfinite_counts(bad).values()] == [2, 0, 1]
    assert int(optim.health(bad)["nonfinite"]) == 3
    assert optim.nonfinite_paths(jnp.asarray(np.nan)) == ["the root"]


def test_low_precision_is_summed_in_float32():
    norms = optim.leaf_norms({"w": jnp.ones(10_000, jnp.bfloat16)})
    assert norms["['w']"].dtype == jnp.float32
    np.testing.assert_allclose(norms["['w']"], 100)


def test_nothing_changes_where_nothing_is():
    zero = {"w": jnp.zeros(2)}
    assert optim.update_ratios(zero, zero)["['w']"] == 0
    assert optim.health({}) == {"grad_norm": 0, "nonfinite": 0}


def test_wrong_use():
    with pytest.raises(ValueError, match=r"^health needs params with updates; got None.$"):
        optim.health(GRADS, GRADS)
    with pytest.raises(
        ValueError,
        match=r"^update_ratios needs updates with .* at \['head'\], as in params",
    ):
        optim.update_ratios(GRADS, {**PARAMS, "head": jnp.ones(2)})
    with pytest.raises(TypeError, match=r"^leaf_norms needs leaves of .* at \['i'\].$"):
        optim.leaf_norms({"i": jnp.arange(2)})
