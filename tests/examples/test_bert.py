"""The encoder of the examples against BERT, and what its mask does."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from examples.encoder import Encoder, from_bert
from tests.support.drawn_params import drawn

REAL = np.arange(9) < np.array([[9], [6], [1]])


def inputs():
    rng = np.random.default_rng(0)
    return rng.integers(0, 50, (3, 9)), rng.integers(0, 2, (3, 9))


@pytest.fixture(scope="module")
def bert():
    """A small BERT of random weights, none of them 0 or 1, in float64."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=50,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=128,
        max_position_embeddings=16,
    )
    model = transformers.BertModel(config).eval().double()
    with torch.no_grad():
        for p in model.parameters():
            p += 0.3 * torch.randn_like(p)
    return model


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_as_bert(bert, dtype):
    import torch

    ids, types = inputs()
    with torch.no_grad():
        theirs = bert(
            input_ids=torch.tensor(ids),
            token_type_ids=torch.tensor(types),
            attention_mask=torch.tensor(REAL.astype(int)),
        )
    weights = {k: v.numpy().astype(dtype) for k, v in bert.state_dict().items()}
    encoder = Encoder(50, 32, heads=4, depth=2, length=16)
    params = from_bert(weights, depth=2)
    states, summary = jax.jit(encoder.apply)(params, ids, types=types, mask=REAL)
    assert states.dtype == summary.dtype == dtype
    close = 1e-12 if dtype == "float64" else 1e-5
    # what BERT makes of padding is no one's business
    for got, wanted in [
        (states[REAL], theirs.last_hidden_state.numpy()[REAL]),
        (summary, theirs.pooler_output.numpy()),
    ]:
        np.testing.assert_allclose(got, wanted, rtol=0, atol=close)


def test_params_of_bert_are_those_of_init(bert):
    weights = {k: v.numpy() for k, v in bert.state_dict().items()}
    encoder = Encoder(50, 32, heads=4, depth=2, length=16)
    ids = jax.ShapeDtypeStruct((3, 9), "int32")
    params = jax.eval_shape(lambda key: encoder.init(key, ids), jax.random.key(0))
    shapes = jax.tree.map(jnp.shape, params)
    assert jax.tree.map(jnp.shape, from_bert(weights, depth=2)) == shapes


def test_padding_is_not_read():
    ids, types = inputs()
    encoder = Encoder(50, 16, heads=2, depth=2, length=9)
    params = drawn(encoder, jax.ShapeDtypeStruct((3, 9), "int32"))
    apply = jax.jit(encoder.apply)
    states, summary = apply(params, ids, types=types, mask=REAL)
    others = np.where(REAL, ids, 7)
    again, summary_again = apply(params, others, types=types, mask=REAL)
    np.testing.assert_array_equal(states[REAL], again[REAL])
    np.testing.assert_array_equal(summary, summary_again)
    assert not np.array_equal(summary, apply(params, others, types=types)[1])
    assert not np.array_equal(summary, apply(params, ids, mask=REAL)[1])
