"""Schedules against optax's or their formula, in every way that a step may come."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from funcnn import optim

STEPS = np.arange(120)


def triangle(step):
    part = step % 20 / 20
    return 0.01 + 0.09 * (1 - np.abs(2 * part - 1)) * 0.5 ** (step // 20)


def restarts(step):
    return 0.01 + 0.09 * (1 + np.cos(np.pi * (step % 20) / 20)) / 2


def constant(step):
    return 0.1 + 0 * step


def inverse_sqrt(step):
    return 0.1 * np.minimum((step + 1) / 10, np.sqrt(10 / (step + 1)))


# Ours, and optax's or the formula, which take an array of steps.
PAIRS = {
    "constant_schedule": (optim.constant_schedule(0.1), constant),
    "linear_schedule": (
        optim.linear_schedule(0.1, 0.01, 50, 10),
        optax.linear_schedule(0.1, 0.01, 50, 10),
    ),
    "polynomial_schedule": (
        optim.polynomial_schedule(0.1, 0.01, 2.5, 50, 10),
        optax.polynomial_schedule(0.1, 0.01, 2.5, 50, 10),
    ),
    "exponential_schedule": (
        optim.exponential_schedule(0.1, 0.5, 30, 10),
        optax.exponential_decay(0.1, 30, 0.5, 10),
    ),
    "exponential_schedule, stairs": (
        optim.exponential_schedule(0.1, 0.5, 30, staircase=True, end=0.02),
        optax.exponential_decay(0.1, 30, 0.5, staircase=True, end_value=0.02),
    ),
    "cosine_schedule": (
        optim.cosine_schedule(0.1, 80, 0.01, power=1.5),
        optax.cosine_decay_schedule(0.1, 80, 0.1, 1.5),
    ),
    "warmup_cosine_schedule": (
        optim.warmup_cosine_schedule(0.1, 10, 80, start=0.02, end=0.01),
        optax.warmup_cosine_decay_schedule(0.02, 0.1, 10, 80, 0.01),
    ),
    "one_cycle_schedule": (
        optim.one_cycle_schedule(0.1, 90),
        jax.vmap(optax.cosine_onecycle_schedule(90, 0.1)),
    ),
    "cyclic_schedule": (optim.cyclic_schedule(0.01, 0.1, 20, decay=0.5), triangle),
    "cyclic_schedule, cosine": (
        optim.cyclic_schedule(0.01, 0.1, 20, shape="cosine"),
        restarts,
    ),
    "piecewise_schedule": (
        optim.piecewise_schedule(0.1, {30: 0.5, 60: 0.1}),
        optax.piecewise_constant_schedule(0.1, {30: 0.5, 60: 0.1}),
    ),
    "inverse_sqrt_schedule": (
        optim.inverse_sqrt_schedule(0.1, 10),
        inverse_sqrt,
    ),
    "warmup_stable_decay_schedule": (
        optim.warmup_stable_decay_schedule(0.1, 10, 50, 30, start=0.02, end=0.01),
        optax.join_schedules(
            [optax.linear_schedule(0.02, 0.1, 10), optax.linear_schedule(0.1, 0.01, 30)],
            [60],
        ),
    ),
    "join_schedules": (
        optim.join_schedules(
            [optim.constant_schedule(0.5), optax.linear_schedule(0.5, 0.1, 30)], [20]
        ),
        optax.join_schedules(
            [optax.constant_schedule(0.5), optax.linear_schedule(0.5, 0.1, 30)], [20]
        ),
    ),
}
MIXED = {"join_schedules"}  # has one of optax's in it
each = pytest.mark.parametrize("name", PAIRS)


def promotion(name):
    return "standard" if name in MIXED else "strict"


@functools.cache
def ours(x64):
    """What all of ours give for an array of steps, in one program for each promotion."""
    found = {}
    for names, promotion in ((PAIRS.keys() - MIXED, "strict"), (MIXED, "standard")):
        some = {name: jax.vmap(PAIRS[name][0]) for name in sorted(names)}
        with jax.enable_x64(x64), jax.numpy_dtype_promotion(promotion):
            at = jax.jit(lambda t, some=some: {name: f(t) for name, f in some.items()})
            found |= at(jnp.asarray(STEPS))
    return found


@functools.cache
def theirs(name):
    """Not compiled, as optax's polynomials may be NaN at the end then."""
    with jax.numpy_dtype_promotion("standard"):
        return np.asarray(PAIRS[name][1](jnp.asarray(STEPS)))


def test_every_schedule_is_here():
    public = {n for n in vars(optim) if n.rstrip("s").endswith("_schedule") and n[0] != "_"}
    public.remove("scale_by_schedule")
    assert public == {name.split(",")[0] for name in PAIRS}


@each
def test_equals_the_peer_at_every_step(name):
    got, want = ours(True)[name], theirs(name)
    np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-15)
    assert got.dtype == jnp.float64


@each
def test_takes_a_python_step(name):
    with jax.numpy_dtype_promotion(promotion(name)):
        some = [PAIRS[name][0](int(step)) for step in STEPS[::40]]
    np.testing.assert_allclose(some, theirs(name)[::40], rtol=1e-12)
    assert some[0].shape == ()


@each
def test_float32_without_x64(name):
    low = ours(False)[name]
    assert low.dtype == jnp.float32
    np.testing.assert_allclose(low[37], ours(True)[name][37], rtol=1e-5)


def test_values_may_be_traced():
    def at(peak):
        return optim.warmup_cosine_schedule(peak, 10, 80)(jnp.asarray(30))

    peaks = jnp.asarray([0.1, 0.2])
    got = jax.jit(jax.vmap(at))(peaks)
    np.testing.assert_allclose(got, [at(0.1), at(0.2)], rtol=1e-12)


def test_an_optimizer_takes_one():
    schedule = optim.one_cycle_schedule(0.1, 30)
    optimizer, w = optim.sgd(schedule), jnp.ones(2)
    state = optimizer.init(w)
    for step in range(3):
        updates, state = optimizer.update(w, state)
        np.testing.assert_allclose(updates, -schedule(step))


@pytest.mark.parametrize(
    "make, message",
    [
        (
            lambda: optim.linear_schedule(-0.1, 0.0, 10),
            "linear_schedule needs start of at least 0.0; got -0.1.",
        ),
        (
            lambda: optim.cosine_schedule(0.1, 0),
            "cosine_schedule needs steps of at least 1; got 0.",
        ),
        (
            lambda: optim.warmup_cosine_schedule(0.1, 10, 10),
            "warmup_cosine_schedule needs steps of at least 11; got 10.",
        ),
        (
            lambda: optim.one_cycle_schedule(0.1, 10, rise=1.0),
            "one_cycle_schedule needs rise between 0 and 1 of 10 steps; got 1.0.",
        ),
        (
            lambda: optim.one_cycle_schedule(0.1, 10, start=0.0),
            "one_cycle_schedule needs start above 0; got 0.0.",
        ),
        (
            lambda: optim.exponential_schedule(0.1, 0.0, 10),
            "exponential_schedule needs rate above 0; got 0.0.",
        ),
        (
            lambda: optim.cyclic_schedule(0.0, 0.1, 10, shape="square"),
            'cyclic_schedule needs shape "triangle" or "cosine"; got \'square\'.',
        ),
        (
            lambda: optim.piecewise_schedule(0.1, {5: -1.0}),
            "piecewise_schedule needs factor at step 5 of at least 0.0; got -1.0.",
        ),
        (
            lambda: optim.join_schedules([optim.constant_schedule(0.1)], [3]),
            "join_schedules needs one boundary fewer than schedules; got 1 boundaries and "
            "1 schedules.",
        ),
        (
            lambda: optim.join_schedules([optim.constant_schedule(0.1)] * 3, [3, 3]),
            r"join_schedules needs boundaries that ascend; got \[3, 3\].",
        ),
    ],
)
def test_wrong_use(make, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        make()
