"""A training step compiles once, and its gradients come from the written rules."""

import importlib
import pkgutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import funcnn.ops
from funcnn import layers, losses, optim, train

MODEL = layers.Serial(
    layers.Conv(4, 3, 2),
    layers.Relu(),
    layers.MaxPool(2),
    layers.Residual(layers.LayerNorm(), layers.Gelu()),
    layers.Flatten(),
    layers.Dropout(0.5),
    layers.Dense(3),
)
RULES = {
    "conv",
    "relu",
    "max_pool",
    "layer_norm",
    "gelu",
    "dropout",
    "dense",
    "softmax_cross_entropy",
}
SHAPE = (4, 8, 8, 1)


def batch(seed, dtype=np.float32):
    rng = np.random.default_rng(seed)
    return rng.standard_normal(SHAPE).astype(dtype), rng.integers(0, 3, 4)


def loss(params, batch, key):
    logits = MODEL.apply(params, batch[0], key=key)
    return losses.softmax_cross_entropy(logits, batch[1])


def schedule(step):
    return 1e-3 * 0.9 ** step.astype(jnp.float32)


@pytest.mark.parametrize(
    "optimizer",
    [optim.sgd(0.1), optim.chain(optim.clip_by_global_norm(1.0), optim.adamw(schedule))],
    ids=["sgd", "chain"],
)
def test_a_step_compiles_once(optimizer):
    traces = []

    def counted(*args):
        traces.append(args)
        return loss(*args)

    state = train.init(jax.random.key(0), MODEL, optimizer, SHAPE)
    step = jax.jit(train.make_step(counted, optimizer), donate_argnums=0)
    for seed in range(3):
        state, _ = step(state, batch(seed))
    assert len(traces) == 1
    assert step._cache_size() == 1
    assert state.step == 3


def test_the_count_can_fail():
    apply = jax.jit(layers.Dense(2).apply)
    params = layers.Dense(2).init(jax.random.key(0), (1, 3))
    for dtype in (np.float32, np.float64):
        apply(params, np.ones((4, 3), dtype))
    assert apply._cache_size() == 2


def test_apply_compiles_once_for_new_params_and_keys():
    apply = jax.jit(MODEL.apply)
    for seed in range(2):
        params = MODEL.init(jax.random.key(seed), SHAPE)
        apply(params, batch(seed)[0])
    assert apply._cache_size() == 1
    for seed in range(2):
        apply(params, batch(seed)[0], key=jax.random.key(seed))
    assert apply._cache_size() == 2  # with a key it is another function


def test_decoding_compiles_once():
    model = layers.Transformer(11, 8, 2, 2)
    params = model.init(jax.random.key(0), jax.ShapeDtypeStruct((1, 4), jnp.int32))
    ids = np.zeros((1, 4), np.int32)
    apply = jax.jit(model.apply)
    _, cache = jax.jit(lambda p, x: model.apply(p, x, cache=9))(params, ids)
    for _ in range(3):
        _, cache = apply(params, ids[:, :1], cache=cache)
    assert apply._cache_size() == 1
    assert cache.position.tolist() == [7, 7]


# The rules are in force


def test_a_models_jaxpr_names_its_rules():
    params = jax.eval_shape(lambda: MODEL.init(jax.random.key(0), SHAPE))
    text = str(jax.make_jaxpr(loss)(params, batch(0), jax.random.key(0)))
    for rule in RULES:
        assert f"name={rule}\n" in text, f"{rule}'s rule is not in the model"


def test_a_models_gradient_calls_every_rule(monkeypatch):
    called = set()
    names = [m.name for m in pkgutil.iter_modules(funcnn.ops.__path__)]
    for module in (importlib.import_module(f"funcnn.ops.{name}") for name in names):
        op = getattr(module, module.__name__.rpartition("._")[2])

        def counted(*args, op=op, bwd=op.bwd):
            called.add(op.__name__)
            return bwd(*args)

        monkeypatch.setattr(op, "bwd", counted)
    params = jax.eval_shape(lambda: MODEL.init(jax.random.key(0), SHAPE))
    args = params, batch(0), jax.random.key(0)
    jax.make_jaxpr(loss)(*args)
    assert called == set()
    jax.make_jaxpr(jax.grad(loss))(*args)
    assert called == RULES


def test_a_models_gradient_is_what_the_rules_return(monkeypatch):
    model = layers.Serial(layers.Dense(4), layers.Relu(), layers.Dense(3))
    x = np.ones((2, 5), np.float32)
    params = model.init(jax.random.key(0), x)

    def gradient():
        return jax.grad(lambda p: model.apply(p, x).sum())(params)[2]

    before, op = gradient(), funcnn.ops.dense
    bwd = op.bwd
    monkeypatch.setattr(op, "bwd", lambda *args: jax.tree.map(jnp.negative, bwd(*args)))
    jax.tree.map(lambda b, a: np.testing.assert_array_equal(a, -b), before, gradient())
