"""Where a step's time goes is told by kinds of layers."""

import pytest

from benchmarks.steps import profile, race
from benchmarks.steps.with_funcnn import initial
from tests.support.benchmark_networks import NETWORK, POOLED

FEW = "convolution", "dense", "optimizer"


@pytest.mark.parametrize(
    "library", ["funcnn", pytest.param("pytorch", marks=pytest.mark.exhaustive)]
)
@pytest.mark.parametrize(
    ("model", "kinds"),
    [
        pytest.param(POOLED, FEW, id="pooled"),
        pytest.param(
            NETWORK, (*FEW, "norm", "activation"), id="images", marks=pytest.mark.exhaustive
        ),
    ],
)
def test_a_step_is_told_by_kinds(library, model, kinds, plain_jax):
    if library not in ["funcnn", *race.installed(["pytorch"])]:
        pytest.skip("PyTorch is not installed")
    found = profile.profile(library, model, initial(model))
    whole = found.pop("step")
    assert whole == pytest.approx(sum(found.values()))
    assert set(found) <= set(profile.KINDS)
    for kind in kinds:
        assert found[kind] > 0, kind


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("_attention.py", "attention"),
        ("aten::_scaled_dot_product_flash_attention_for_cpu_backward", "attention"),
        ("_embed.py", "embedding"),
        ("aten::embedding_dense_backward", "embedding"),
        ("_linear_softmax_cross_entropy.py", "loss"),
        ("_dense.py", "dense"),
    ],
)
def test_what_a_transformer_spends_has_a_kind(name, kind):
    assert profile.kind_of(name) == kind


def test_kernels_are_told_by_their_source(plain_jax):
    step = profile.told_in_full(race.trainer("funcnn", POOLED, initial(POOLED)))
    kinds = profile.kernel_kinds(step.as_text())
    products = {kind for name, kind in kinds.items() if "dot" in name or "conv" in name}
    assert products <= {"convolution", "dense"}
    assert {"convolution", "dense", "optimizer", "loss"} <= set(kinds.values())
