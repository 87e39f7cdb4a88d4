"""Norms: where they start, and what they refuse."""

import numpy as np
import pytest

from funcnn import layers
from funcnn.layers import GroupNorm, LayerNorm, RMSNorm
from tests.support.layers import KEY, assert_equal, fails


@pytest.mark.parametrize("norm", [LayerNorm(), RMSNorm(), GroupNorm(3)])
def test_norms_start_with_scale_one_and_offset_zero(norm):
    params = norm.init(KEY, (2, 5, 3))
    assert_equal(params.pop("scale"), np.ones(3))
    assert_equal(params.get("offset", np.zeros(3)), np.zeros(3))
    assert set(params) <= {"offset"}


@pytest.mark.parametrize("name", ["LayerNorm", "RMSNorm", "GroupNorm"])
def test_a_norm_of_a_wrong_eps(name):
    def norm(eps):
        return getattr(layers, name)(
            **{"groups": 2} if name == "GroupNorm" else {}, eps=eps
        )

    fails(ValueError, f"{name} needs eps of at least 0.0; got -1.", norm, -1)
    fails(TypeError, f"{name} needs a number for eps; got 'x'.", norm, "x")


def test_groups_that_do_not_fit():
    fails(ValueError, "GroupNorm needs groups of at least 1; got 0.", GroupNorm, 0)
    fails(TypeError, "GroupNorm needs an integer groups; got 0.5.", GroupNorm, 0.5)
    message = "GroupNorm needs groups that divide the 3 channels of x; got 2."
    fails(ValueError, message, GroupNorm(2).init, KEY, (2, 5, 3))
    message = "GroupNorm needs x of shape (N, *spatial, C) with 1, 2 or 3 spatial axes; "
    fails(ValueError, message + "got (2, 4).", GroupNorm(2).init, KEY, (2, 4))
