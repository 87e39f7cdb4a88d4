"""Signals let the step end, save, and leave by an error; a second one is obeyed."""

import os
import signal

import pytest

from funcnn import train
from tests.support.train_runs import STEP, Watched, assert_same, data, measure, start


@pytest.fixture(autouse=True)
def signals():
    """Signals as a program in a terminal has them: a job in the background has not."""
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    before = {number: signal.signal(number, usual[number]) for number in usual}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_saves_and_goes_on(tmp_path, number):
    want, _ = train.fit(STEP, start(), data(), steps=9)
    ask = Watched(5, lambda: os.kill(os.getpid(), number))
    before = signal.getsignal(number)
    with train.Checkpoints(tmp_path) as checkpoints:
        message = r"asked to stop, and did after step 6\. It is saved in .*\.$"
        with pytest.raises(train.Interrupted, match=message) as raised:
            train.fit(
                STEP, start(), ask, steps=9, evaluate=measure, checkpoints=checkpoints
            )
        assert raised.value.state.step == checkpoints.latest() == 6
        assert raised.value.history.stopped == "interrupted"
        assert not raised.value.history.eval_step.size
        got, history = train.fit(STEP, start(), data(), steps=9, checkpoints=checkpoints)
    assert_same(got, want)
    assert history.stopped == "steps"
    assert signal.getsignal(number) is before


def test_an_interrupted_run_without_checkpoints_hands_its_state_over():
    want, _ = train.fit(STEP, start(), data(), steps=3)
    ask = Watched(2, lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(
        KeyboardInterrupt, match=r"after step 3\. This error has it"
    ) as raised:
        train.fit(STEP, start(), ask, steps=9)
    assert_same(raised.value.state, want)


def test_a_second_interrupt_is_obeyed():
    def twice():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt) as raised:
        train.fit(STEP, start(), Watched(2, twice), steps=9)
    assert not isinstance(raised.value, train.Interrupted)
