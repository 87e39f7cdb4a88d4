"""States outlive a process, and params of other libraries are trained."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnn import optim
from tests.support.optim_makers import MAKERS

PARAMS = {"w": jnp.arange(6.0).reshape(3, 2) + 1, "b": (jnp.ones(2), None)}


def used(a):
    """Numbers that differ, in place of those that a state begins with."""
    return jnp.asarray(np.arange(1, 1 + a.size).reshape(a.shape).astype(a.dtype))


@pytest.mark.filterwarnings("ignore")  # of Orbax's own making
def test_every_state_goes_through_an_orbax_checkpoint(tmp_path):
    """All in one checkpoint, as writing one takes longer than an update."""
    checkpoints = pytest.importorskip("orbax.checkpoint", reason="it writes checkpoints")
    optimizers = {name: make(0.01) for name, make in MAKERS.items()}
    small = {
        "bfloat16 moments": optim.adamw(0.1, moments=jnp.bfloat16),
        "int8 moments": optim.adam(0.1, moments=optim.Int8(4)),
    }
    states = {
        name: jax.tree.map(used, jax.eval_shape(optimizer.init, PARAMS))
        for name, optimizer in (optimizers | small).items()
    }
    saver = checkpoints.StandardCheckpointer()
    saver.save(tmp_path / "states", states)
    saver.wait_until_finished()
    back = saver.restore(tmp_path / "states", jax.eval_shape(lambda: states))
    assert jax.tree.structure(back) == jax.tree.structure(states)
    for a, b in zip(jax.tree.leaves(back), jax.tree.leaves(states), strict=True):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        np.testing.assert_array_equal(a, b)


def train(params, loss):
    """The params after ten steps, and the losses before and after."""
    optimizer = optim.chain(optim.clip_by_global_norm(1.0), optim.adamw(0.05))

    @jax.jit
    def step(params, state):
        updates, state = optimizer.update(jax.grad(loss)(params), state, params)
        return optim.apply_updates(params, updates), state

    before, state = loss(params), optimizer.init(params)
    for _ in range(10):
        params, state = step(params, state)
    return params, before, loss(params)


def kinds(tree):
    return [(a.shape, a.dtype) for a in jax.tree.leaves(tree)]


def batch():
    x = jax.random.normal(jax.random.key(1), (8, 2), jnp.float32)
    return x, x.sum(1, keepdims=True)


def check(params, loss):
    """One method trains them, and all keep their classes, shapes and dtypes."""
    for name, make in MAKERS.items():
        optimizer = make(0.01)
        state = jax.eval_shape(optimizer.init, params)
        updates, later = jax.eval_shape(optimizer.update, params, state, params)
        assert jax.tree.structure(updates) == jax.tree.structure(params), name
        assert kinds(updates) == kinds(params), name
        assert jax.tree.structure(later) == jax.tree.structure(state), name
        assert kinds(later) == kinds(state), name
    after, first, last = train(params, loss)
    assert jax.tree.structure(after) == jax.tree.structure(params)
    assert last < 0.8 * first


def test_linen_params_are_trained():
    linen = pytest.importorskip("flax.linen", reason="its params are trained")
    x, y = batch()
    model = linen.Dense(1, param_dtype=jnp.float32)
    params = model.init(jax.random.key(0), x)
    check(params, lambda params: jnp.mean((model.apply(params, x) - y) ** 2))


def test_nnx_params_are_trained():
    nnx = pytest.importorskip("flax.nnx", reason="its params are trained")
    x, y = batch()
    graph, params = nnx.split(nnx.Linear(2, 1, rngs=nnx.Rngs(0)))
    check(params, lambda params: jnp.mean((nnx.merge(graph, params)(x) - y) ** 2))


def test_equinox_params_are_trained():
    equinox = pytest.importorskip("equinox", reason="its params are trained")
    x, y = batch()
    model = equinox.nn.MLP(2, 1, 4, 1, key=jax.random.key(0), dtype=jnp.float32)
    params, rest = equinox.partition(model, equinox.is_inexact_array)

    def loss(params):
        return jnp.mean((jax.vmap(equinox.combine(params, rest))(x) - y) ** 2)

    check(params, loss)
