"""Every method gets to the bottom of something, and the page on optimizers has it."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnn import optim
from tests.support.optim_makers import MAKERS, methods

PAGE = Path(__file__).parents[3] / "docs/optimizers.md"
RATES = 10.0 ** jnp.arange(-3, 1.25, 0.5)
CURVATURES = jnp.logspace(-2, 0, 10)


def data():
    x = jax.random.normal(jax.random.key(0), (40, 3))
    return x, x @ jnp.array([1.0, -2.0, 0.5]) > 0.3


def loss(params):
    """A quadratic with curvatures of two orders of magnitude, and logistic regression."""
    x, y = data()
    logits = x @ params["logistic"]["weight"] + params["logistic"]["bias"]
    return {
        "quadratic": jnp.sum(CURVATURES * params["quadratic"] ** 2) / 2,
        "logistic": jnp.mean(jnp.logaddexp(0, jnp.where(y, -logits, logits))),
    }


START = {
    "quadratic": jnp.ones(10),
    "logistic": {"weight": jnp.zeros(3), "bias": jnp.zeros(())},
}
# Of the loss at first, what is left after 200 steps at the best of the rates.
BOUNDS = {"quadratic": 0.05, "logistic": 0.4}
# The first steps of all are compared with optax's.
QUICK = {"adam"}


def left(make):
    """The share of each loss that is left, shape (rates,)."""

    def train(rate):
        optimizer = make(rate)

        def body(carry, _):
            params, state = carry
            grads = jax.grad(lambda params: sum(loss(params).values()))(params)
            updates, state = optimizer.update(grads, state, params)
            return (optim.apply_updates(params, updates), state), None

        (params, _), _ = jax.lax.scan(body, (START, optimizer.init(START)), length=200)
        return loss(params)

    first, last = loss(START), jax.jit(jax.vmap(train))(RATES)
    return {name: np.nanmin(last[name]) / first[name] for name in first}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(n, marks=() if n in QUICK else pytest.mark.exhaustive)
        for n in [*methods(), "lookahead"]
    ],
)
def test_every_method_converges(name):
    shares = left(MAKERS[name])
    for problem, bound in BOUNDS.items():
        assert shares[problem] < bound, problem


def test_no_method_that_climbs_would_pass():
    shares = left(lambda rate: optim.scale(rate))
    assert all(shares[problem] > bound for problem, bound in BOUNDS.items())


def test_the_page_has_a_row_for_every_method():
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    told = {row.split("`")[1] for row in rows if row.count("(") == 4}
    assert {*methods(), "lookahead"} <= told
