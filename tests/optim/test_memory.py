"""What states cost: dtypes, stochastic rounding, eight bits, donated buffers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnn import optim
from funcnn.optim.precision import _codes, _rounding
from tests.support.optim_makers import methods, ones

KEY = jax.random.key(0)
STEP = jnp.asarray(7, jnp.int32)


def nbytes(tree):
    return sum(a.nbytes for a in jax.tree.leaves(tree))


def noise(size, step=STEP, salt=0):
    return np.asarray(_rounding.uniform((size,), step, salt))


# rounding


def test_noise_is_uniform_and_new_for_each_step_and_salt():
    a, b, c = noise(100_000), noise(100_000, STEP + 1), noise(100_000, salt=1)
    for x in (a, b, c):
        assert 0 <= x.min() < x.max() < 1
        counts = np.histogram(x, 20, (0, 1))[0]
        assert abs(counts - 5000).max() < 5 * 5000**0.5
        assert abs(np.corrcoef(x[1:], x[:-1])[0, 1]) < 0.02
    assert abs(np.corrcoef([a, b, c]) - np.eye(3)).max() < 0.02


@pytest.mark.parametrize("x", [1.001, -1.001, 3e-5, 1.0, 0.0])
def test_bfloat16_is_rounded_to_neighbours_with_the_right_mean(x):
    x = np.full(50_000, x, np.float32)
    got = _rounding.stochastic(jnp.asarray(x), jnp.bfloat16, jnp.asarray(noise(x.size)))
    assert got.dtype == jnp.bfloat16
    got = np.asarray(got, np.float64)
    assert abs(got - x).max() <= 2**-7 * abs(x[0])
    np.testing.assert_allclose(got.mean(), x[0], rtol=1e-4)


def test_rounding_keeps_what_is_not_finite():
    x = jnp.asarray([jnp.inf, -jnp.inf, jnp.nan, 3.4e38], jnp.float32)
    got = _rounding.stochastic(x, jnp.bfloat16, jnp.full(4, 0.9999))
    np.testing.assert_array_equal(got[:3].astype(jnp.float32), x[:3])


@pytest.mark.parametrize("shape", [(), (5,), (256,), (300,), (7, 100), (0, 3)])
def test_codes_are_near_and_have_the_right_mean(shape):
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    rounds = [
        np.asarray(_codes.dequantise(_codes.quantise(x, 256, STEP + i, 3), shape))
        for i in range(100)
    ]
    assert rounds[0].shape == shape
    scale = abs(x).max(initial=1e-9)
    for r in rounds:
        gap = 4 / 127 * (abs(x) / scale) ** 0.75 * scale + 1e-2 * scale
        assert (abs(r - x) <= gap).all()
    np.testing.assert_allclose(np.mean(rounds, 0), x, atol=0.01 * scale)


def test_small_numbers_never_become_0():
    x = jnp.asarray([1.0, 1e-12, -1e-12, 0.0], jnp.float32)
    got = _codes.dequantise(_codes.quantise(x, 4, STEP, 0), (4,))
    assert got[0] == 1
    assert 0 < got[1] < 1e-8
    assert -1e-8 < got[2] < 0
    assert got[3] == 0


def test_a_nan_shows_in_its_block():
    x = jnp.ones(8).at[1].set(jnp.nan)
    got = _codes.dequantise(_codes.quantise(x, 4, STEP, 0), (8,))
    np.testing.assert_array_equal(jnp.isnan(got), [True] * 4 + [False] * 4)


# moments


def quadratic(optimizer, steps=300, dtype=jnp.float32):
    """The loss that is left of a quadratic whose gradients are noisy."""
    scales = jnp.logspace(-2, 0, 512, dtype=jnp.float32)

    def body(carry, key):
        w, state = carry
        noisy = scales * w.astype(jnp.float32) + 0.01 * jax.random.normal(
            key, w.shape, jnp.float32
        )
        updates, state = optimizer.update(noisy.astype(dtype), state, w)
        return (optim.apply_updates(w, updates), state), None

    start = jnp.ones(512, dtype)
    keys = jax.random.split(KEY, steps)
    run = jax.jit(lambda: jax.lax.scan(body, (start, optimizer.init(start)), keys)[0])
    w, state = run()
    return float(jnp.sum(scales * w.astype(jnp.float32) ** 2)), state


@pytest.mark.parametrize("moments", [jnp.bfloat16, optim.Int8(), optim.Int8(64)], ids=str)
def test_small_moments_train_like_large_ones(moments):
    want, large = quadratic(optim.adam(0.02))
    got, state = quadratic(optim.adam(0.02, moments=moments))
    assert got < 1.5 * want
    share = nbytes((state.mu, state.nu)) / nbytes((large.mu, large.nu))
    assert share <= (0.5 if moments == jnp.bfloat16 else 0.27)
    assert all(np.isfinite(a.astype(jnp.float32)).all() for a in jax.tree.leaves(state))


def test_a_mean_square_in_bfloat16_follows_but_would_not_if_rounded_to_nearest():
    ones = jnp.ones(1000, jnp.bfloat16)
    for moments, stuck in ((None, True), (jnp.bfloat16, False)):
        optimizer = optim.adam(0.1, b2=0.999, moments=moments)
        state = optimizer.init(ones)._replace(nu=ones)
        update = jax.jit(optimizer.update)
        for _ in range(200):
            _, state = update(0 * ones, state)
        mean = state.nu.astype(jnp.float32).mean()
        assert (mean == 1) == stuck
        if not stuck:
            np.testing.assert_allclose(mean, 0.999**200, rtol=0.02)


def test_float32_moments_of_bfloat16_params():
    optimizer = optim.adam(0.1, moments=jnp.float32)
    w = jnp.ones(3, jnp.bfloat16)
    updates, state = optimizer.update(w, optimizer.init(w))
    assert updates.dtype == jnp.bfloat16
    assert {state.mu.dtype, state.nu.dtype} == {jnp.dtype(jnp.float32)}


# params


def test_stochastic_rounding_lets_small_updates_count():
    """Updates of a hundredth of the gap between bfloat16 numbers."""
    w, g = jnp.ones(4000, jnp.bfloat16), jnp.ones(4000, jnp.bfloat16)
    plain = optim.sgd(2**-14)
    for optimizer, moves in ((plain, False), (optim.stochastic_rounding(plain), True)):
        params, state = w, optimizer.init(w)
        update = jax.jit(optimizer.update)
        for _ in range(20):
            updates, state = update(g, state, params)
            params = optim.apply_updates(params, updates)
        assert params.dtype == jnp.bfloat16
        moved = 1 - float(params.astype(jnp.float32).mean())
        np.testing.assert_allclose(moved, 20 * 2**-14 if moves else 0, rtol=0.2)


def test_stochastic_rounding_leaves_float32_as_it_is():
    w = {"a": jnp.ones(3, jnp.float32), "b": jnp.ones(2, jnp.bfloat16), "none": None}
    optimizer = optim.stochastic_rounding(optim.sgd(0.1))
    updates, _ = optimizer.update(w, optimizer.init(w), w)
    np.testing.assert_allclose(updates["a"], -0.1)
    new = optim.apply_updates(w, updates)
    assert jax.tree.map(lambda a: a.dtype, new) == jax.tree.map(lambda a: a.dtype, w)


def test_master_weights_are_what_float32_training_has():
    low = jnp.asarray(np.random.default_rng(0).standard_normal(50), jnp.bfloat16)
    high = low.astype(jnp.float32)
    master, plain = optim.master_weights(optim.adamw(1e-3)), optim.adamw(1e-3)
    state, want = master.init(low), plain.init(high)
    for _ in range(20):
        grads = jnp.sin(low.astype(jnp.float32)).astype(jnp.bfloat16)
        updates, state = master.update(grads, state, low)
        low = optim.apply_updates(low, updates)
        moves, want = plain.update(grads.astype(jnp.float32), want, high)
        high = high + moves
        np.testing.assert_array_equal(low, high.astype(jnp.bfloat16))
    np.testing.assert_array_equal(state.params, high)
    assert low.dtype == jnp.bfloat16


# donation


LOW = {"moments": jnp.bfloat16}
CLIP = optim.clip_by_global_norm(1.0)
# The scratch of a donated update, in sizes of the params.
SCRATCH = {
    "sgd": (optim.sgd(0.1, 0.9), 0),
    "adam": (optim.adam(0.1), 0),
    "adamw": (optim.adamw(0.1), 0),
    "nadam, weights decay": (optim.nadam(0.1, weight_decay=0.1), 0),
    "rmsprop": (optim.rmsprop(0.1, momentum=0.9), 0),
    "adagrad": (optim.adagrad(0.1), 0),
    "amsgrad": (optim.amsgrad(0.1), 0),
    "adamax": (optim.adamax(0.1), 0),
    "nadam": (optim.nadam(0.1), 0),
    "radam": (optim.radam(0.1), 0),
    "lion": (optim.lion(0.1), 0),
    "chain": (optim.chain(CLIP, optim.adamw(0.1)), 0),
    "sgd, bfloat16": (optim.sgd(0.1, 0.9, **LOW), 0),
    "adamw, bfloat16": (optim.adamw(0.1, **LOW), 0),
    "lion, bfloat16": (optim.lion(0.1, **LOW), 0),
    "lamb": (optim.lamb(0.1), 1),  # every leaf's step, until its norm is known
    "lars": (optim.lars(0.1), 1),
    "adadelta": (optim.adadelta(0.1), 1),
    "adafactor": (optim.adafactor(0.1), 1.01),
    "muon": (optim.muon(0.1), 4.25),
    "sophia": (optim.sophia(0.1, ones()), 0),
    "schedule_free": (optim.schedule_free(optim.sgd(0.1), 0.1), 1),
    "lookahead": (optim.lookahead(optim.adam(0.1)), 1),
}


def test_the_scratch_of_every_method_is_known():
    assert {*methods(), "lookahead"} <= {name.split(",")[0] for name in SCRATCH}


@pytest.mark.parametrize("name", SCRATCH)
def test_a_donated_update_allocates_no_second_copy(name):
    """Not even of one of the leaves, and as many of the params as is told, no more."""
    optimizer, copies = SCRATCH[name]

    def step(params, state, grads):
        updates, state = optimizer.update(grads, state, params)
        return optim.apply_updates(params, updates), state

    params = {str(i): jnp.zeros((256, 256), jnp.float32) for i in range(4)}
    state = optimizer.init(params)
    compiled = jax.jit(step, donate_argnums=(0, 1)).lower(params, state, params).compile()
    memory = compiled.memory_analysis()
    kept = nbytes((params, state))
    assert memory.alias_size_in_bytes >= kept - 64
    assert memory.output_size_in_bytes - memory.alias_size_in_bytes < 1024
    few = params["0"].nbytes / 4
    assert memory.temp_size_in_bytes <= copies * nbytes(params) + few


def test_the_memory_analysis_sees_a_copy():
    def step(params, state, grads):
        updates, state = optim.sgd(0.1).update(grads, state, params)
        return optim.apply_updates(params, updates), state

    w = jnp.zeros(2**18, jnp.float32)
    state = optim.sgd(0.1).init(w)
    memory = jax.jit(step).lower(w, state, w).compile().memory_analysis()
    assert memory.output_size_in_bytes - memory.alias_size_in_bytes >= w.nbytes


@pytest.mark.parametrize(
    "make, error, message",
    [
        (
            lambda: optim.adam(0.1, moments=jnp.int8),
            TypeError,
            "adam needs moments to be a floating-point dtype, an Int8 or None; .*int8.*",
        ),
        (
            lambda: optim.adam(0.1, moments=optim.Int8(0)),
            ValueError,
            "adam needs block of moments of at least 1; got 0.",
        ),
        (
            lambda: optim.master_weights(optim.sgd(0.1)).update(jnp.ones(2), None),
            ValueError,
            "master_weights needs params, as .*; got None.",
        ),
    ],
)
def test_wrong_use(make, error, message):
    with pytest.raises(error, match=f"^{message}$"):
        make()


def test_what_follows_a_norm_does_not_hold_it_again():
    """XLA copied the sum over all leaves into each leaf's part: minutes for 500 leaves."""
    clip = optim.clip_by_global_norm(1.0)
    grads = {str(i): jnp.ones(8) for i in range(60)}
    compiled = (
        jax.jit(lambda g: clip.update(g, optim.ClipState())[0]).lower(grads).compile()
    )
    assert len(compiled.as_text()) < 5000 * len(grads)  # it was three times that
