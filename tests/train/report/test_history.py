"""Pictures of what a run recorded."""

import pytest

from funcnn import train
from tests.support.train_runs import STEP, data, measure, start


def test_history_plots(tmp_path):
    _, history = train.fit(STEP, start(), data(), steps=6, evaluate=measure, eval_every=2)
    figure = history.plot()
    names = ["loss", "grad_norm", "learning_rate"]
    assert [axes.get_ylabel() for axes in figure.axes] == names
    assert len(figure.axes[0].lines) == 2
    figure.savefig(tmp_path / "history.png")
    assert len(history.plot("grad_norm").axes) == 1
    with pytest.raises(
        ValueError, match="plot has loss, grad_norm, learning_rate; got 'accuracy'"
    ):
        history.plot("accuracy")
