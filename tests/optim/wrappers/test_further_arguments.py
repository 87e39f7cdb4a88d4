"""What is given to update by name reaches those that take it."""

import jax
import jax.numpy as jnp
import optax

from funcnn import optim


def test_chains_pass_further_arguments_to_those_that_take_them():
    seen = []

    def update(grads, state, params=None, *, loss):
        seen.append(loss)
        return grads, state

    takes = optim.Optimizer(lambda params: (), update)
    inner = optim.chain(optim.sgd(0.1), takes, optax.scale(1.0))
    for wrapped in (
        inner,
        optim.masked(inner, True),
        optim.lookahead(inner),
        optim.apply_if_finite(inner, 1),
        optim.accumulate(inner, 1),
        optim.schedule_free(inner, 0.1),
        optim.inject(lambda learning_rate: inner, learning_rate=0.1),
    ):
        w = jnp.ones(2)
        wrapped.update(w, wrapped.init(w), w, loss="f", other=3)
    assert seen == ["f"] * 7


def test_optax_members_get_theirs():
    def loss(w):
        return jnp.sum(w**2)

    w = jnp.ones(2)
    search = optax.scale_by_backtracking_linesearch(max_backtracking_steps=5)
    with jax.numpy_dtype_promotion("standard"):
        optimizer = optim.chain(optim.sgd(1.0), search)
        value, grad = jax.value_and_grad(loss)(w)
        given = {"value": value, "grad": grad, "value_fn": loss}
        updates, _ = optimizer.update(grad, optimizer.init(w), w, **given)
    assert loss(w + updates) < value
