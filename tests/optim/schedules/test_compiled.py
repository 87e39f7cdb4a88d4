"""Schedules are the same to the last bit, compiled or not, however the step comes."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnn import optim

STEPS = np.arange(150)

# Periods whose rounded inverses are too small: 47 * float32(1 / 47) is less than 1.
SCHEDULES = {
    "constant": optim.constant_schedule(0.1),
    "linear": optim.linear_schedule(0.1, 0.01, 47, 3),
    "square": optim.polynomial_schedule(0.1, 0.01, 2.0, 47),
    "root": optim.polynomial_schedule(0.1, 0.01, 0.5, 47),
    "exponential": optim.exponential_schedule(0.1, 0.7, 47, 3, end=0.02),
    "stairs": optim.exponential_schedule(0.1, 0.7, 47, 3, staircase=True),
    "cosine": optim.cosine_schedule(0.1, 97, 0.01),
    "cosine, power": optim.cosine_schedule(0.1, 97, 0.01, power=1.5),
    "one cycle": optim.one_cycle_schedule(1.0, 100, rise=0.29),
    "cycles": optim.cyclic_schedule(0.0, 1.0, 47, shape="cosine", decay=0.7),
    "triangles": optim.cyclic_schedule(0.1, 1.0, 47, decay=0.9),
    "piecewise": optim.piecewise_schedule(0.1, {13: 0.3, 47: 0.1}),
    "inverse root": optim.inverse_sqrt_schedule(0.1, 47),
    "warmup, cosine": optim.warmup_cosine_schedule(0.1, 13, 97, start=0.02, end=0.01),
    "plateau": optim.warmup_stable_decay_schedule(0.1, 13, 29, 47, start=0.02, end=0.01),
}
each = pytest.mark.parametrize("name", SCHEDULES)


def all_at(steps):
    return {name: schedule(steps) for name, schedule in SCHEDULES.items()}


@functools.cache
def plain(x64):
    """What all are, operation by operation, at int32 steps."""
    with jax.enable_x64(x64):
        return jax.device_get(all_at(jnp.asarray(STEPS, jnp.int32)))


@pytest.mark.parametrize("x64", [False, True])
def test_compiled_at_every_step(x64):
    with jax.enable_x64(x64):
        at = jax.jit(all_at)
        steps = [jax.device_get(at(jnp.asarray(t, jnp.int32))) for t in STEPS]
    found = {name: np.stack([step[name] for step in steps]) for name in SCHEDULES}
    chex.assert_trees_all_equal(found, plain(x64))


@pytest.mark.parametrize("x64", [False, True])
@pytest.mark.parametrize("vmapped", [False, True])
def test_compiled_for_many_steps(x64, vmapped):
    with jax.enable_x64(x64):
        f = jax.vmap(all_at) if vmapped else all_at
        found = jax.device_get(
            jax.jit(f)(jnp.asarray(STEPS, jnp.float32 if vmapped else None))
        )
    chex.assert_trees_all_equal(found, plain(x64))


@each
@pytest.mark.parametrize(
    "step",
    [int, float, np.int32, np.uint8, np.float32, lambda t: jnp.asarray(t, jnp.uint8)],
    ids=["int", "float", "int32", "uint8", "float32", "JAX's uint8"],
)
def test_any_kind_of_step(name, step):
    with jax.enable_x64(False):
        some = [SCHEDULES[name](step(t)) for t in STEPS[:100:33]]
    assert all(value.dtype == jnp.float32 for value in some)
    np.testing.assert_array_equal(some, plain(False)[name][:100:33])


@each
@pytest.mark.parametrize("x64", [False, True])
def test_any_number_of_steps(name, x64):
    with jax.enable_x64(x64):
        schedule = SCHEDULES[name]
        late = [schedule(2**40), schedule(jnp.asarray(2**32 - 1, jnp.uint32))]
        assert np.isfinite(late).all()


@pytest.mark.parametrize("x64", [False, True])
def test_periods_longer_than_integers(x64):
    n = 3 * 2**31
    with jax.enable_x64(x64):
        halves = [
            optim.cosine_schedule(1.0, n)(n // 2),
            optim.linear_schedule(1.0, 0.0, n, n)(n + n // 2),
            optim.cyclic_schedule(0.0, 1.0, n)(n // 4),
            optim.warmup_cosine_schedule(1.0, n, 2 * n)(n // 2),
            optim.piecewise_schedule(1.0, {n: 0.5})(n),
        ]
        np.testing.assert_allclose(halves, 0.5, rtol=1e-6)
        at = jax.jit(optim.cosine_schedule(1.0, n))(jnp.asarray(2**31 - 1, jnp.int32))
    np.testing.assert_allclose(at, 0.75, rtol=1e-6)


@pytest.mark.parametrize("wrap", [lambda f: f, jax.jit], ids=["plain", "compiled"])
def test_turns_of_periods(wrap):
    def of(period):
        ends = jnp.arange(1, 4) * period
        stairs = optim.exponential_schedule(1.0, 0.5, period, staircase=True)
        waves = optim.cyclic_schedule(0.0, 1.0, period, shape="cosine")
        return stairs(ends), stairs(ends - 1), waves(ends), waves(ends - 1)

    with jax.enable_x64(False):
        found = wrap(lambda: [of(period) for period in (41, 47, 55, 83, 97)])()
    for at_ends, before, tops, lows in found:
        np.testing.assert_array_equal(at_ends, [0.5, 0.25, 0.125])
        np.testing.assert_array_equal(before, [1, 0.5, 0.25])
        np.testing.assert_array_equal(tops, 1)
        assert float(lows.max()) < 0.01


def test_a_cycle_peaks_where_it_should():
    for share, steps in ((0.29, 100), (0.57, 100), (0.07, 100), (0.28, 200), (0.001, 9)):
        values = optim.one_cycle_schedule(1.0, steps, rise=share)(jnp.arange(steps + 1))
        assert int(values.argmax()) == max(round(share * steps), 1)
        assert float(values.max()) == 1


def test_ends_are_what_they_are_called():
    line = optim.linear_schedule(0.3, 0.7, 47)(jnp.asarray([0, 47, 48]))
    np.testing.assert_array_equal(line, [0.3, 0.7, 0.7])
    wave = optim.cosine_schedule(0.3, 47, 0.1)(jnp.asarray([0, 47, 48]))
    np.testing.assert_array_equal(wave, [0.3, 0.1, 0.1])


def test_tails_of_waves_have_all_digits():
    with jax.enable_x64(False):
        got = optim.cosine_schedule(1.0, 100_000)(np.asarray([99_990, 99_999]))
    np.testing.assert_allclose(
        got, np.sin(np.pi / 2e5 * np.asarray([10, 1])) ** 2, rtol=1e-5
    )


def test_slopes_for_rates_that_are_traced():
    slope = jax.grad(lambda high: optim.linear_schedule(0.1, high, 4)(3))(0.1)
    np.testing.assert_allclose(slope, 0.75)
