"""Grain's data is data like `batches`."""

import itertools

import numpy as np
import pytest

from funcnn import train
from tests.support.numbered_batches import taken, through_json


def grain_batches(n=23, batch_size=4):
    grain = pytest.importorskip("grain", reason="its data is read: funcnn[train]")
    source = [{"x": np.int64(i), "y": np.float32([i, 2 * i])} for i in range(n)]
    data = grain.MapDataset.source(source).shuffle(seed=1).repeat()
    few = grain.ReadOptions(num_threads=1, prefetch_buffer_size=2)
    return iter(data.batch(batch_size).to_iter_dataset(few))


@pytest.mark.parametrize("ahead", [False, True])
@pytest.mark.parametrize("stop", [0, 3, pytest.param(8, marks=pytest.mark.exhaustive)])
def test_grain_is_data_like_batches(stop, ahead):
    wrap = train.prefetch if ahead else iter
    whole = taken(grain_batches(), 14)
    assert sorted(itertools.chain(*whole))[:4] == [0, 0, 1, 1]
    data = wrap(grain_batches())
    assert taken(data, stop) == whole[:stop]
    state = data.get_state()
    kept = through_json(state)
    next(data)
    assert state == kept
    anew = wrap(grain_batches())
    anew.set_state(kept)
    assert taken(anew, 14 - stop) == whole[stop:]
