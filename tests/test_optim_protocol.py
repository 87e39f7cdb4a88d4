"""What holds for every optimizer there is: traces, vmap, trees, dtypes, states, errors."""

import functools
import inspect
import os
import pickle
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from optim_runs import GRADS, PARAMS, assert_close

from funcnn import optim

KEY = jax.random.key(0)


def ones():
    """An estimate of a Hessian's diagonal that needs no loss."""
    return optim.Optimizer(
        lambda params: (),
        lambda grads, state, params=None: (jax.tree.map(jnp.ones_like, grads), state),
    )


# What makes an optimizer for a rate, where that is not all it needs.
SPECIAL = {
    "sgd": lambda rate: optim.sgd(rate, 0.9, True),
    "rmsprop": lambda rate: optim.rmsprop(rate, centered=True, momentum=0.9),
    "adafactor": lambda rate: optim.adafactor(rate, least_size=2),
    "sophia": lambda rate: optim.sophia(rate, ones(), every=2),
    "schedule_free": lambda rate: optim.schedule_free(optim.sgd(rate), rate),
    "lookahead": lambda rate: optim.lookahead(optim.adam(rate), 2),
    "accumulate": lambda rate: optim.accumulate(optim.adam(rate), 2),
    "apply_if_finite": lambda rate: optim.apply_if_finite(optim.adam(rate), 2),
    "partition": lambda rate: optim.partition(
        {True: optim.adam(rate), False: optim.sgd(rate, 0.9)},
        lambda params: jax.tree.map(lambda w: w.ndim > 1, params),
    ),
    "inject": lambda rate: optim.inject(optim.adamw, learning_rate=rate, b1=0.8),
    "chain": lambda rate: optim.chain(
        optim.clip(1.0),
        optim.clip_by_global_norm(1.0),
        optim.clip_by_block_rms(0.5),
        optim.adaptive_grad_clip(0.1),
        optim.centralize(),
        optim.add_noise(0.1, 0.5, KEY),
        optim.trace(0.9),
        optim.scale_by_adam(),
        optim.scale_by_trust_ratio(),
        optim.add_decayed_weights(0.1),
        optim.scale(0.5),
        optim.scale_by_schedule(lambda step: 1.0),
        optim.scale_by_learning_rate(rate),
        optim.freeze(lambda params: jax.tree.map(lambda w: w.ndim == 0, params)),
        optim.ema_params(0.9),
    ),
}


def makers():
    """What makes each public method for a rate."""
    found = dict(SPECIAL)
    for name, value in vars(optim).items():
        if inspect.isfunction(value) and name not in found:
            parameters = inspect.signature(value).parameters.values()
            needed = [p.name for p in parameters if p.default is p.empty]
            if "learning_rate" in inspect.signature(value).parameters:
                assert needed in ([], ["learning_rate"]), f"name {name} in SPECIAL"
                found[name] = value
    return found


MAKERS = makers()
each = pytest.mark.parametrize("name", MAKERS)


def grads_at(step, like=GRADS):
    return jax.tree.map(lambda a: a[step], like)


def low(tree, dtype):
    return jax.tree.map(lambda a: a.astype(dtype), tree)


@each
def test_one_trace_in_a_donated_step_and_the_state_goes_through_pickle(name):
    optimizer, traces = MAKERS[name](0.01), []

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
    assert {a.dtype for a in jax.tree.leaves(got)} == {jnp.dtype(jnp.bfloat16)}
    kinds = jax.tree.map(lambda a: (a.shape, a.dtype), optimizer.init(params))
    assert jax.tree.map(lambda a: (a.shape, a.dtype), state) == kinds
    if name in ("chain", "muon", "lion"):  # noise, and signs, that differ
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


WEIGHTED = ["adamw", "adafactor", "lamb", "lars", "lion", "muon", "sophia", "lookahead"]


@pytest.mark.parametrize("name", [*WEIGHTED, "schedule_free"])
def test_params_are_asked_for_by_name(name):
    optimizer, w = MAKERS[name](0.1), {"w": jnp.ones((2, 2))}
    with pytest.raises(
        ValueError, match=rf"^{name} needs params, as .*: update\(grads, .*; got None.$"
    ):
        optimizer.update(w, optimizer.init(w))


METHODS = [n for n in MAKERS if n not in SPECIAL or n in ("sgd", "rmsprop", "adafactor")]


@pytest.mark.parametrize("name", [*METHODS, "lookahead", "schedule_free", "sophia"])
def test_errors_name_the_optimizer_and_the_leaf(name):
    optimizer = MAKERS[name](0.1)
    params = {"stem": {"weight": jnp.ones((3, 2))}, "bias": jnp.ones(2)}
    grads = {"stem": {"weight": jnp.ones((2, 3))}, "bias": jnp.ones(2)}
    with pytest.raises(
        ValueError,
        match=rf"^{name} needs gradients with shape \(3, 2\) at \['stem'\]\['weight'\], as "
        r"in (params|the mom.* in its state); got shape \(2, 3\).$",
    ):
        optimizer.update(grads, optimizer.init(params), params)


@pytest.mark.parametrize("name", [*METHODS, "schedule_free", "sophia"])
def test_rates_are_not_negative(name):
    make = MAKERS[name]
    if name == "schedule_free":  # whose optimizer would complain first
        make = functools.partial(optim.schedule_free, optim.scale_by_adam())
    with pytest.raises(
        ValueError, match=rf"^{name} needs learning_rate of at least 0.0; got -0.1.$"
    ):
        make(-0.1)


SHARDED = """
import jax, jax.numpy as jnp, numpy as np
from jax.sharding import NamedSharding, PartitionSpec as P
from funcnn import optim
mesh = jax.make_mesh((8,), ("x",), axis_types=(jax.sharding.AxisType.Auto,))
params = {"w": jnp.arange(32.0).reshape(16, 2) / 32, "b": jnp.ones(16)}
split = {"w": NamedSharding(mesh, P("x")), "b": NamedSharding(mesh, P("x"))}
grads = jax.tree.map(jnp.sin, params)
for optimizer in (
    optim.chain(optim.clip_by_global_norm(1.0), optim.adamw(0.1)),
    optim.adamw(0.1, moments=jnp.bfloat16),
    optim.lamb(0.1),
    optim.muon(0.1),
):
    def step(params, grads):
        updates, state = optimizer.update(grads, optimizer.init(params), params)
        return optim.apply_updates(params, updates), state
    want, _ = jax.jit(step)(params, grads)
    over = jax.device_put((params, grads), (split, split))
    got, state = jax.jit(step, out_shardings=(split, None))(*over)
    assert len(got["w"].sharding.device_set) == 8
    jax.tree.map(lambda g, w: np.testing.assert_allclose(g, w, rtol=1e-4), got, want)
print("equal")
"""


def test_sharded_over_eight_devices():
    flags = "--xla_force_host_platform_device_count=8"
    done = subprocess.run(
        [sys.executable, "-c", SHARDED],
        env=os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "equal\n"), done.stderr
