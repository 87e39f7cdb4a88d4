"""Optimizers whose params are spread over eight devices, in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SHARDED = """
import sys
import jax, jax.numpy as jnp, numpy as np
from jax.sharding import NamedSharding, PartitionSpec as P
from funcnn import optim
from tests.support.optim_makers import MAKERS
mesh = jax.make_mesh((8,), ("x",), axis_types=(jax.sharding.AxisType.Auto,))
params = {"w": jnp.arange(32.0).reshape(16, 2) / 32, "b": jnp.ones(16)}
split = {"w": NamedSharding(mesh, P("x")), "b": NamedSharding(mesh, P("x"))}
grads = jax.tree.map(jnp.sin, params)
small = {"bfloat16": lambda rate: optim.adamw(rate, moments=jnp.bfloat16)}
names = sys.argv[1:] or [*MAKERS, *small]
optimizers = {name: (MAKERS | small)[name](0.1) for name in names}
def step(params, grads):
    found = {}
    for name, optimizer in optimizers.items():
        updates, _ = optimizer.update(grads, optimizer.init(params), params)
        found[name] = optim.apply_updates(params, updates)
    return found
want = jax.jit(step)(params, grads)
over = jax.device_put((params, grads), (split, split))
got = jax.jit(step, out_shardings={name: split for name in names})(*over)
for name in names:
    assert len(got[name]["w"].sharding.device_set) == 8
    for g, w in zip(jax.tree.leaves(got[name]), jax.tree.leaves(want[name])):
        np.testing.assert_allclose(g, w, rtol=1e-4, err_msg=name)
print("equal")
"""
# Elementwise, with norms, with products, and rounded by chance.
FEW = ["adamw", "lamb", "muon", "bfloat16"]


@pytest.mark.parametrize(
    "names",
    [FEW, pytest.param([], marks=pytest.mark.exhaustive)],
    ids=["few", "all"],
)
def test_sharded_over_eight_devices(names):
    flags = "--xla_force_host_platform_device_count=8"
    paths = os.pathsep.join([str(Path(__file__).parents[2]), *filter(None, sys.path)])
    done = subprocess.run(
        [sys.executable, "-c", SHARDED, *names],
        env=os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu", "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "equal\n"), done.stderr
