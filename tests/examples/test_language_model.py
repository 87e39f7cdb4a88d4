"""What the language model's example is made of: its text, tokens, baseline and windows."""

import itertools
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from examples import bpe, ngram, topics
from funcnn import layers
from tests.support.drawn_params import drawn

FOLDER = Path(__file__).parents[2] / "examples"


def test_topics_do_not_overlap():
    text = topics.load(0)
    assert 0.08 < len(text.test) / len(text.train + text.test) <= 0.105
    assert text.test.count(topics.START) == len(text.held_back)
    train, test = (
        {p for t in s.split(topics.START)[1:] for p in t.removesuffix("\n").split("\n\n")}
        for s in (text.train, text.test)
    )
    assert len(train) > 1000
    assert len(test) > 100
    assert not train & test
    assert topics.load(0) == text
    assert topics.load(1).held_back != text.held_back


def test_paragraphs_are_kept_once():
    bodies = topics.once({"b": "one\n\ntwo\n\none", "a": "two\n\nthree", "c": "three\n"})
    assert bodies == {"a": "two\n\nthree", "b": "one"}


def test_frequent_pairs_become_tokens():
    codec = bpe.learn("ab ab\fab ab abc", list("\f abc"), 8)
    pieces = [bpe.decode(codec, [i]) for i in range(codec.get_vocab_size())]
    assert sorted(pieces) == sorted(["\f", " ", "a", "b", "c", "ab", " ab"])  # once each
    assert [pieces[i] for i in bpe.encode(codec, "\fab abba")] == [
        "\f",
        "ab",
        " ab",
        "b",
        "a",
    ]


def test_tokens_are_fewer_and_lose_nothing():
    text = topics.load(0)
    codec = bpe.learn(text.train[:50_000], text.characters, 200)
    assert codec.get_vocab_size() == 200
    ids = bpe.encode(codec, text.test)
    assert ids.dtype == np.int32
    assert bpe.decode(codec, ids) == text.test
    assert len(ids) < 0.7 * len(text.test)


@pytest.mark.parametrize("order", [1, 2, 3, 9])
def test_probabilities_sum_to_one(order):
    """After histories that are known, unknown, or too short to be either."""
    rng = np.random.default_rng(0)
    vocabulary = 6
    model = ngram.fit(rng.integers(0, 5, 300), order)
    for length in (0, 1, 4, 12):
        history = rng.integers(0, vocabulary, length)
        texts = [np.append(history, last) for last in range(vocabulary)]
        p = [ngram.probabilities(model, t, vocabulary)[-1] for t in texts]
        assert min(p) > 0
        assert sum(p) == pytest.approx(1, rel=1e-12)


def by_hand(text, order, vocabulary):
    """p(last | history) by the definition, with dicts, the ends of the text joined."""

    def counts(n):
        circle = text * 3
        grams = [
            tuple(circle[len(text) + i - n + 1 : len(text) + i + 1])
            for i in range(len(text))
        ]
        if n == order:
            return {g: grams.count(g) for g in set(grams)}
        longer = {
            tuple(circle[len(text) + i - n : len(text) + i + 1]) for i in range(len(text))
        }
        return {g: sum(w[1:] == g for w in longer) for g in set(grams)}

    def p(history, last, n):
        if n == 0:
            return 1 / vocabulary
        table = counts(n)
        history = history[len(history) - n + 1 :]
        lower = p(history[1:], last, n - 1)
        after = {g[-1]: c for g, c in table.items() if g[:-1] == tuple(history)}
        if not after:
            return lower
        ones, twos, threes, fours = (
            max(1, [*table.values()].count(c)) for c in (1, 2, 3, 4)
        )
        y = ones / (ones + 2 * twos)
        d = [
            0,
            1 - 2 * y * twos / ones,
            2 - 3 * y * threes / twos,
            3 - 4 * y * fours / threes,
        ]
        d = [
            min(max(x, 0.05), high) for x, high in zip(d, (9, 0.95, 1.9, 2.8), strict=True)
        ]
        total = sum(after.values())
        left = sum(d[min(c, 3)] for c in after.values()) / total
        c = after.get(last, 0)
        return (c - d[min(c, 3)]) / total * (c > 0) + left * lower

    return lambda history, last: p(history, last, order)


def test_probabilities_are_those_of_the_definition():
    text = [0, 1, 0, 2, 0, 1, 1, 0, 1, 2, 2, 1, 0, 1, 0, 0, 1, 3]
    model, p = ngram.fit(np.array(text), 3), by_hand(text, 3, 5)
    for history in itertools.product(range(5), repeat=2):
        for last in range(5):
            got = ngram.probabilities(model, np.array([*history, last]), 5)[-1]
            assert got == pytest.approx(p(history, last), rel=1e-12)


def test_ngrams_by_arithmetic():
    """Of `aab`: a comes after a and b, b after a alone. Every count is 1 or 2."""
    model = ngram.fit(np.array([0, 0, 1]), 2)
    # Pairs, with the ends joined: ba, aa, ab, once each, so y = 3 / 5 and D1 = 1 - 2 y / 3.
    # Characters: a after 2 of them, b after 1, so y = 1 / 3, D1 = 1 / 3, D2 = 2 - 3 y = 1.
    left = (1 / 3 + 1) / 3
    a, b = (2 - 1) / 3 + left / 2, (1 - 1 / 3) / 3 + left / 2
    got = ngram.probabilities(model, np.array([0, 0, 1]), 2)
    np.testing.assert_allclose(got, [a, 0.4 / 2 + 0.6 * a, 0.4 / 2 + 0.6 * b], rtol=1e-12)


def test_longer_ngrams_help_until_they_do_not():
    text = topics.load(0).train[:60_000]
    ids = np.unique([*text], return_inverse=True)[1]
    size = ids.max() + 1
    bits = [ngram.bits(ngram.fit(ids[:50_000], n), ids[50_000:], size) for n in (1, 3, 5)]
    assert bits[0] > 4 > bits[1] > bits[2] > 1
    order = ngram.choose(ids[:50_000], ids[50_000:], size)
    assert order >= 5
    assert ngram.bits(ngram.fit(ids[:50_000], order), ids[50_000:], size) <= bits[2]
    with pytest.raises(ValueError, match="order from 1 to 9; got 10"):
        ngram.fit(ids, 10)
    with pytest.raises(ValueError, match="ids of 7 bits; got 0 to 128"):
        ngram.fit(np.array([0, 128]), 2)


@pytest.fixture
def language_model(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    import language_model

    monkeypatch.setattr(language_model, "LENGTH", 8)
    yield language_model
    for path in FOLDER.glob("*.py"):
        sys.modules.pop(path.stem, None)


@pytest.mark.parametrize("n", [2, 5, 8, 9, 10, 12, 13, 14, 100, 101])
def test_windows_count_each_prediction_once(language_model, n):
    rows, counts = language_model.windows(np.arange(n))
    assert rows.shape == (len(counts), 9)
    assert sorted(rows[:, 1:][counts].tolist()) == [*range(1, n)]
    row, place = np.nonzero(counts)
    assert ((place >= 4) | (row == 0)).all()
    assert (rows[:, :-1][counts] == rows[:, 1:][counts] - 1).all()


def test_attention_is_the_models(language_model, monkeypatch):
    """What the last block gives is what the model makes of the tokens, before its norm."""
    for name, value in {"FEATURES": 8, "HEADS": 2, "DEPTH": 2}.items():
        monkeypatch.setattr(language_model, name, value)
    model = language_model.model(20)
    ids = np.arange(6)
    params = drawn(model, ids[None])
    maps, x = language_model.attention(params, ids)
    assert maps.shape == (2, 2, 6, 6)
    np.testing.assert_allclose(maps.sum(-1), 1, rtol=1e-5)
    np.testing.assert_array_equal(np.triu(maps, 1), 0)
    y = layers.LayerNorm().apply(params["norm"], x)
    whole = jax.jit(model.apply, static_argnames="head")(params, ids[None], head=False)
    np.testing.assert_allclose(y, whole, rtol=1e-4, atol=1e-5)
