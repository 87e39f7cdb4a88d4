"""The contract: what holds for every optimizer there is, found by its public name."""

import inspect
import pickle

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnn import optim
from tests.support.optim_makers import MAKERS, PARTS, constructors
from tests.support.optim_runs import (
    GRADS,
    PARAMS,
    assert_close,
    cast,
    fewer_shapes,
    grads_at,
    pair,
)

ALL = MAKERS | PARTS
FEW, GRAD, NEXT = map(fewer_shapes, (PARAMS, grads_at(0), grads_at(1)))
each = pytest.mark.parametrize("name", ALL)
each_that_trains = pytest.mark.parametrize("name", MAKERS)


def falling(step):
    return 0.01 / (1.0 + step.astype(float))


def kinds(tree):
    """Shapes, dtypes and weak types, which decide whether a step is traced again."""
    return jax.tree.map(lambda a: (a.shape, a.dtype, a.weak_type), tree)


def test_every_optimizer_is_here():
    assert {*ALL} == {*constructors()}


@each
def test_a_step_gives_what_the_next_one_takes(name):
    """So that no step is traced twice: all kinds stay as they are, with a schedule."""
    makes = MAKERS.get(name)
    optimizer = makes(falling) if makes else PARTS[name](0.01)

    def step(params, state, grads):
        updates, state = optimizer.update(grads, state, params)
        return optim.apply_updates(params, updates), state

    for dtype in (jnp.float64, jnp.bfloat16):
        params = cast(PARAMS, dtype)
        state = jax.eval_shape(optimizer.init, params)
        found = jax.eval_shape(step, params, state, params)
        assert kinds(found) == kinds((jax.eval_shape(lambda p=params: p), state))


@each
def test_an_update_is_pure_and_its_state_can_be_donated_and_pickled(name):
    """No two leaves share a buffer, as none can be given away twice."""
    optimizer = ALL[name](0.01)
    state = optimizer.init(FEW)
    leaves = [a for a in jax.tree.leaves((FEW, state)) if a.size]
    assert len({a.unsafe_buffer_pointer() for a in leaves}) == len(leaves)
    before = jax.device_get((GRAD, state, FEW))
    once = optimizer.update(GRAD, state, FEW)
    chex.assert_trees_all_equal(jax.device_get((GRAD, state, FEW)), before)
    back = pickle.loads(pickle.dumps(jax.device_get((state, FEW))))
    assert jax.tree.structure(back) == jax.tree.structure((state, FEW))
    state, params = jax.device_put(back)
    again = optimizer.update(GRAD, state, params)
    chex.assert_trees_all_equal(again, once)


@pytest.mark.exhaustive
@each_that_trains
def test_a_donated_step_is_compiled_once_also_for_what_pickle_brings_back(name):
    optimizer = MAKERS[name](falling)

    chex.clear_trace_counter()  # it counts by the function's name

    @chex.assert_max_traces(n=1)
    def step(params, state, grads):
        updates, state = optimizer.update(grads, state, params)
        return optim.apply_updates(params, updates), state

    step = jax.jit(step, donate_argnums=(0, 1))
    params = jax.tree.map(jnp.copy, PARAMS)
    state = optimizer.init(params)
    for i in range(3):
        params, state = step(params, state, grads_at(i))
    params, state = jax.device_get((params, state))
    back = pickle.loads(pickle.dumps((params, state)))
    more = [step(*jax.device_put(pair), grads_at(3)) for pair in ((params, state), back)]
    assert_close(more[1], more[0], 0)


def final(name, rate):
    """Params after five steps."""
    optimizer = MAKERS[name](rate)

    def body(carry, grads):
        params, state = carry
        updates, state = optimizer.update(grads, state, params)
        return (optim.apply_updates(params, updates), state), None

    few = jax.tree.map(lambda a: a[:5], GRADS)
    return jax.lax.scan(body, (PARAMS, optimizer.init(PARAMS)), few)[0][0]


@each_that_trains
def test_rates_can_be_vmapped(name):
    """Nothing asks for the value of a rate that is traced; numbers are below."""
    got = jax.eval_shape(jax.vmap(lambda rate: final(name, rate)), jnp.ones(2))
    for a, w in zip(jax.tree.leaves(got), jax.tree.leaves(PARAMS), strict=True):
        assert (a.shape, a.dtype) == ((2, *w.shape), w.dtype)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name == "adam" else pytest.mark.exhaustive)
        for name in MAKERS
    ],
)
def test_vmap_over_rates_equals_separate_runs(name):
    rates = jnp.asarray([0.01, 0.09])
    run = jax.jit(lambda rate: final(name, rate))
    together = jax.jit(jax.vmap(lambda rate: final(name, rate)))(rates)
    apart = [run(rate) for rate in rates]
    assert_close(together, jax.tree.map(lambda *a: np.stack(a), *apart), 1e-10)


@each_that_trains
def test_low_precision_in_and_out(name):
    """Updates have the gradients' dtype, arithmetic float32: all near float64."""
    optimizer = MAKERS[name](0.01)
    params, grads = (cast(pair(a), jnp.bfloat16) for a in (PARAMS, GRAD))
    start = optimizer.init(params)
    got, state = optimizer.update(grads, start, params)
    wide = name in ("master_weights", "stochastic_rounding")  # as they say
    want = jnp.float32 if wide else jnp.bfloat16
    assert {a.dtype for a in jax.tree.leaves(got)} == {jnp.dtype(want)}
    chex.assert_trees_all_equal_shapes_and_dtypes(state, start)
    if wide or name in ("chain", "muon", "lion"):  # rounding, noise, signs that differ
        return
    params, grads = (cast(a, jnp.float64) for a in (params, grads))
    want, _ = optimizer.update(grads, optimizer.init(params), params)
    assert_close(cast(got, jnp.float64), want, 2**-6)


class Frozen:
    """As Flax's FrozenDict: a mapping that is a pytree of its own."""

    def __init__(self, **items):
        self.items = items


jax.tree_util.register_pytree_with_keys(
    Frozen,
    lambda f: (
        [(jax.tree_util.DictKey(k), f.items[k]) for k in sorted(f.items)],
        tuple(sorted(f.items)),
    ),
    lambda keys, values: Frozen(**dict(zip(keys, values, strict=True))),
)


@each
def test_any_tree(name):
    optimizer = ALL[name](0.01)
    frozen = Frozen(w=np.ones((3, 4)), none=None)
    for params in ({}, (), {"a": None, "b": ()}, frozen, np.ones((0, 2))):
        state = jax.eval_shape(optimizer.init, params)
        updates, after = jax.eval_shape(optimizer.update, params, state, params)
        assert jax.tree.structure(updates) == jax.tree.structure(params)
        jax.eval_shape(optimizer.update, params, after, params)
    updates, state = optimizer.update(frozen, optimizer.init(frozen), frozen)
    assert all(np.isfinite(a).all() for a in jax.tree.leaves((updates, state)))


@pytest.mark.parametrize("name", [n for n in MAKERS if n in vars(optim)])
def test_every_number_can_be_injected(name):
    """And is one that an update takes from the state, traced or not."""
    make = getattr(optim, name)
    parameters = inspect.signature(make).parameters.values()
    if any(p.default is p.empty and p.name != "learning_rate" for p in parameters):
        pytest.skip("not made of numbers alone")
    numbers = {p.name: p.default for p in parameters if isinstance(p.default, float)}
    numbers = {"learning_rate": 0.1} | numbers
    plain, injected = make(**numbers), optim.inject(make, **numbers)

    def two(optimizer):
        state = optimizer.init(FEW)
        _, state = optimizer.update(GRAD, state, FEW)
        return optimizer.update(NEXT, state, FEW)

    jax.eval_shape(lambda: two(injected))
    want, _ = two(plain)
    got, state = two(injected)
    assert {*state.hyperparameters} == {*numbers}
    assert_close(got, want, 1e-10)
