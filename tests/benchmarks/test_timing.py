"""What is compared takes fair turns, and is timed in pairs."""

import numpy as np
import pytest

from benchmarks import timing


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_turns_are_fair(count):
    turns = [timing.order(turn, count) for turn in range(2 * count)]
    assert all(sorted(turn) == list(range(count)) for turn in turns)
    firsts = [turn[0] for turn in turns]
    assert {firsts.count(i) for i in range(count)} == {2}


def test_rounds_are_paired(monkeypatch):
    """With a clock that each program moves on by its own time."""
    now = [0.0]
    monkeypatch.setattr(timing.time, "perf_counter", lambda: now[0])

    def program(seconds):
        def run():
            now[0] += seconds

        return run

    table = timing.paired([program(3.0), program(1.5)], seconds=0.0, rounds=5)
    np.testing.assert_array_equal(table, [[3.0, 1.5]] * 5)
    assert timing.ratio(table[:, 0], table[:, 1]) == (2, 2, 2)
    longer = timing.paired([program(3.0), program(1.5)], seconds=45.0, rounds=5)
    assert len(longer) == 10


def test_what_wakes_the_threads_is_not_counted(monkeypatch):
    now, awake = [0.0], [False]
    monkeypatch.setattr(timing.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(timing.time, "sleep", lambda _: awake.__setitem__(0, False))

    def run():
        now[0] += 1.0 if awake[0] else 5.0
        awake[0] = True

    table = timing.paired([run, run], seconds=0.0, rounds=3, turn=10.0, pause=0.1)
    np.testing.assert_array_equal(table, np.ones((3, 2)))
    assert now[0] == 3 * 2 * (5 + 10) + 4 + 4  # one run, then ten, each turn
