"""Training steps of all libraries compute the same."""

import pytest

from benchmarks.steps import race, trainer
from benchmarks.steps.with_funcnn import initial
from tests.support.benchmark_networks import NETWORK, POOLED, TOKENS


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(NETWORK, id="images", marks=pytest.mark.exhaustive),
        pytest.param(TOKENS, id="tokens", marks=pytest.mark.exhaustive),
        pytest.param(POOLED, id="pooled"),
    ],
)
def test_training_steps_agree(model, plain_jax):
    peers = race.installed()
    if not peers:
        pytest.skip("no other library is installed")
    runs, costs = race.runners(model, initial(model), ["funcnn", *peers])
    before, after = ([float(run()[1]) for run in runs] for _ in range(2))
    assert before == pytest.approx([before[0]] * len(runs), rel=race.BOUND)
    assert abs(before[0] - after[0]) > 10 * race.BOUND * before[0]  # it does learn
    on_jax = [peer for peer in peers if peer in race.JAX_PEERS]
    assert {cost.what for cost in costs} == {
        f"{peer} {what}" for peer in on_jax for what in ("compile", "temp")
    }


def test_losses_that_differ_are_seen(plain_jax, monkeypatch):
    """With funcnn for its own peer, given another learning rate."""
    made = race.trainer

    def slower(library, *args):
        with monkeypatch.context() as patch:
            if library == "rival":
                patch.setattr(trainer, "RATE", 5e-4)
            return made("funcnn", *args)

    monkeypatch.setattr(race, "trainer", slower)
    with pytest.raises(race.DivergenceError, match="rival's losses are"):
        race.runners(POOLED, initial(POOLED), ["funcnn", "rival"])
