"""What holds for every optimizer there is: traces, vmap, trees, dtypes, states, errors."""

import inspect
import os
import pickle
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnn import optim
from tests.support.optim_makers import MAKERS
from tests.support.optim_runs import GRADS, PARAMS, assert_close

each = pytest.mark.parametrize("name", MAKERS)


def grads_at(step, like=GRADS):
    return jax.tree.map(lambda a: a[step], like)


def low(tree, dtype):
    return jax.tree.map(lambda a: a.astype(dtype), tree)


def falling(step):
    return 0.01 / (1.0 + step.astype(float))


@each
def test_one_trace_in_a_donated_step_and_the_state_goes_through_pickle(name):
    """With a schedule; numbers are below."""
    optimizer, traces = MAKERS[name](falling), []

    def step(params, state, grads):
        traces.append(1)
        updates, state = optimizer.update(grads, state, params)
        return optim.apply_updates(params, updates), state

    jitted = jax.jit(step, donate_argnums=(0, 1))
    params = jax.tree.map(jnp.copy, PARAMS)
    state = optimizer.init(params)
    for i in range(3):
        params, state = jitted(params, state, grads_at(i))
    assert len(traces) == 1
    assert jitted._cache_size() == 1
    params, state = jax.device_get((params, state))
    back = pickle.loads(pickle.dumps((params, state)))
    assert jax.tree.structure(back) == jax.tree.structure((params, state))
    more = [jitted(*jax.device_put(pair), grads_at(3)) for pair in ((params, state), back)]
    assert len(traces) == 1
    assert_close(more[1], more[0], 0)


@each
def test_vmap_over_rates_equals_separate_runs(name):
    def final(rate):
        optimizer = MAKERS[name](rate)

        def body(carry, grads):
            params, state = carry
            updates, state = optimizer.update(grads, state, params)
            return (optim.apply_updates(params, updates), state), None

        start = PARAMS, optimizer.init(PARAMS)
        few = jax.tree.map(lambda a: a[:5], GRADS)
        return jax.lax.scan(body, start, few)[0][0]

    rates = jnp.asarray([0.01, 0.09])
    together = jax.jit(jax.vmap(final))(rates)
    apart = [jax.jit(final)(rate) for rate in rates]
    assert_close(together, jax.tree.map(lambda *a: jnp.stack(a), *apart), 1e-10)


@each
def test_low_precision_in_and_out(name):
    """Updates have the gradients' dtype, arithmetic float32: all near float64."""
    optimizer = MAKERS[name](0.01)
    params, grads = (low(a, jnp.bfloat16) for a in (PARAMS, grads_at(0)))
    got, state = optimizer.update(grads, optimizer.init(params), params)
    wide = name in ("master_weights", "stochastic_rounding")  # as they say
    want = jnp.float32 if wide else jnp.bfloat16
    assert {a.dtype for a in jax.tree.leaves(got)} == {jnp.dtype(want)}
    kinds = jax.tree.map(lambda a: (a.shape, a.dtype), optimizer.init(params))
    assert jax.tree.map(lambda a: (a.shape, a.dtype), state) == kinds
    if wide or name in ("chain", "muon", "lion"):  # rounding, noise, signs that differ
        return
    params, grads = (low(a, jnp.float64) for a in (params, grads))
    want, _ = optimizer.update(grads, optimizer.init(params), params)
    assert_close(low(got, jnp.float64), want, 2**-6)


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
@pytest.mark.parametrize(
    "params",
    [{}, (), {"a": None, "b": ()}, Frozen(w=np.ones((2, 3)), none=None), np.ones((0, 2))],
    ids=["dict", "tuple", "None", "a class of its own", "no elements"],
)
def test_any_tree(name, params):
    optimizer = MAKERS[name](0.01)
    updates, state = optimizer.update(params, optimizer.init(params), params)
    assert jax.tree.structure(updates) == jax.tree.structure(params)
    assert all(np.isfinite(a).all() for a in jax.tree.leaves(updates))
    optimizer.update(params, state, params)


@pytest.mark.parametrize("name", [n for n, make in MAKERS.items() if n in vars(optim)])
def test_every_number_can_be_injected(name):
    """And is one that a compiled update takes from the state."""
    make = getattr(optim, name)
    parameters = inspect.signature(make).parameters.values()
    if any(p.default is p.empty and p.name != "learning_rate" for p in parameters):
        pytest.skip("not made of numbers alone")
    numbers = {p.name: p.default for p in parameters if isinstance(p.default, float)}
    numbers = {"learning_rate": 0.1} | numbers
    plain, injected = make(**numbers), optim.inject(make, **numbers)

    def two(optimizer):
        state = optimizer.init(PARAMS)
        _, state = optimizer.update(grads_at(0), state, PARAMS)
        return optimizer.update(grads_at(1), state, PARAMS)

    want, _ = jax.jit(lambda: two(plain))()
    got, state = jax.jit(lambda: two(injected))()
    assert {*state.hyperparameters} == {*numbers}
    assert_close(got, want, 1e-10)


SHARDED = """
import jax, jax.numpy as jnp, numpy as np
from jax.sharding import NamedSharding, PartitionSpec as P
from funcnn import optim
from tests.support.optim_makers import MAKERS
mesh = jax.make_mesh((8,), ("x",), axis_types=(jax.sharding.AxisType.Auto,))
params = {"w": jnp.arange(32.0).reshape(16, 2) / 32, "b": jnp.ones(16)}
split = {"w": NamedSharding(mesh, P("x")), "b": NamedSharding(mesh, P("x"))}
grads = jax.tree.map(jnp.sin, params)
small = {"bfloat16": lambda rate: optim.adamw(rate, moments=jnp.bfloat16)}
for name, make in (MAKERS | small).items():
    optimizer = make(0.1)
    def step(params, grads):
        updates, state = optimizer.update(grads, optimizer.init(params), params)
        return optim.apply_updates(params, updates), state
    want, _ = jax.jit(step)(params, grads)
    over = jax.device_put((params, grads), (split, split))
    got, state = jax.jit(step, out_shardings=(split, None))(*over)
    assert len(got["w"].sharding.device_set) == 8
    for g, w in zip(jax.tree.leaves(got), jax.tree.leaves(want)):
        np.testing.assert_allclose(g, w, rtol=1e-4, err_msg=name)
print("equal")
"""


def test_sharded_over_eight_devices():
    """Every method, in one process of its own."""
    flags = "--xla_force_host_platform_device_count=8"
    paths = os.pathsep.join([str(Path(__file__).parents[2]), *filter(None, sys.path)])
    done = subprocess.run(
        [sys.executable, "-c", SHARDED],
        env=os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu", "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "equal\n"), done.stderr
