"""Every formulation of a convolution is right, whichever the shapes would choose."""

import math

import jax
import numpy as np
import pytest

from funcnn import _convolution, ops, verify
from funcnn._convolution import _choice

# Each run forces one formulation of each map, where it applies.
MAPS = {
    "convolve": _convolution.CONVOLVE,
    "input_gradient": {**_convolution.INPUT_GRADIENT, "turned": None},
    "filter_gradient": _convolution.FILTER_GRADIENT,
}
RUNS = max(map(len, MAPS.values()))


def applies(map_, name, arrays, w, groups):
    """Whether a formulation is one of convolutions of this geometry."""
    first, second = arrays
    if name.startswith("shifts"):
        if map_ == "filter_gradient":
            return first[-1] == groups
        return second[-2] == 1 or second[-1] == groups
    if name == "product":
        return math.prod(w.kernel) == 1
    if name == "turned":
        return math.prod(w.stride) == 1
    return True


def force(monkeypatch, names):
    """Choose the formulations of these names; returns the set of those that ran."""
    ran = set()
    for map_, name in names.items():
        usual = getattr(_choice, map_)

        def choose(*geometry, map_=map_, name=name, usual=usual):
            *arrays, w, groups = geometry
            if not applies(map_, name, arrays, w, groups):
                return usual(*geometry)
            ran.add((map_, name))
            return name

        monkeypatch.setattr(_choice, map_, choose)
    return ran


@pytest.mark.parametrize("run", range(RUNS))
def test_all_claims_hold_for_every_formulation(run, monkeypatch):
    jax.clear_caches()  # what was traced holds another choice
    names = {map_: list(of)[run % len(of)] for map_, of in MAPS.items()}
    ran = force(monkeypatch, names)
    report = verify.check_ops(["conv", "conv_transpose"])
    assert report.ok, str(report)
    assert ran == set(names.items())
    jax.clear_caches()


def test_a_wrong_formulation_fails(monkeypatch):
    jax.clear_caches()
    wrong = dict(_convolution.FILTER_GRADIENT)
    wrong["patches"] = lambda x, dy, w, groups: _convolution.FILTER_GRADIENT["taps"](
        x, dy, w, groups
    )[::-1]
    monkeypatch.setattr(_convolution, "FILTER_GRADIENT", wrong)
    force(monkeypatch, {"filter_gradient": "patches"})
    report = verify.check_ops(["conv"], claims=["vjp"])
    jax.clear_caches()
    failed = {row.case for row in report.rows if row.failure}
    assert "3x3" in failed
    assert "no bias, 1x1" not in failed  # one tap is the same turned around


@pytest.mark.parametrize("platform", ["cuda", "rocm", "tpu"])
def test_other_platforms_have_their_own_convolution(platform):
    def step(x, weight):
        return jax.vjp(lambda *a: ops.conv(*a, groups=8), x, weight)[1](x)

    shapes = [jax.ShapeDtypeStruct(s, np.float32) for s in ((2, 8, 8, 8), (3, 3, 1, 8))]
    lowered = {
        name: jax.export.export(jax.jit(step), platforms=[name])(*shapes).mlir_module()
        for name in (platform, "cpu")
    }
    assert lowered[platform].count("stablehlo.convolution") == 2
    assert "stablehlo.convolution" not in lowered["cpu"]
