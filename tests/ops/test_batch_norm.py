"""Statistics of a batch: all of it wherever it is, far from zero, and each counted once."""

import os
import subprocess
import sys
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnn import ops, verify
from funcnn.ops import _batch_norm
from funcnn.ops._batch_norm import batch_norm_reference


def normals(*shapes, seed=0):
    rng = np.random.default_rng(seed)
    return tuple(rng.standard_normal(s) for s in shapes)


def close(got, wanted, rtol=1e-10):
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(a, b, rtol, rtol * np.abs(b).max())


# Eight devices are a matter of the whole process.
SHARDED = """
    import jax, numpy as np
    from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
    from funcnn import ops

    @jax.jit
    def outputs_and_cotangents(arrays, dys):
        y, pull = jax.vjp(ops.batch_norm, *arrays)
        return y, pull(dys)

    rng = np.random.default_rng(0)
    def normal(*shape):
        return rng.standard_normal(shape).astype("float32")

    far = 1e3 * (np.arange(8) == 2).astype("float32")
    arrays = normal(16, 4, 4, 8) + far, normal(8), normal(8)
    dys = normal(16, 4, 4, 8), normal(8), normal(8)
    want = outputs_and_cotangents(arrays, dys)
    for kind in (AxisType.Auto, AxisType.Explicit):
        mesh = jax.make_mesh((8,), ("i",), axis_types=(kind,))
        with jax.set_mesh(mesh):
            spread = NamedSharding(mesh, P("i"))
            given = [(jax.device_put(a, spread), *rest) for a, *rest in (arrays, dys)]
            got = outputs_and_cotangents(*given)
        for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
            np.testing.assert_allclose(a, b, 1e-4, 1e-5 * abs(b).max())
            assert a.sharding.is_fully_replicated == (a.ndim == 1)
    print("as it should be")
"""


def test_a_batch_spread_over_devices_has_the_statistics_of_all_of_it():
    flags = "--xla_force_host_platform_device_count=8"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(SHARDED)],
        capture_output=True, text=True, env={**os.environ, "XLA_FLAGS": flags},
    )  # fmt: skip
    assert done.stdout == "as it should be\n", done.stderr


@pytest.mark.parametrize("batched", ["scale", "offset", "x"])
def test_cotangents_of_statistics_count_once_in_a_vmap_over_one_argument(batched):
    axes = [0 if name == batched else None for name in ("x", "scale", "offset")]
    shapes = [(5, 4), (4,), (4,)]
    shapes = [(3, *s) if axis == 0 else s for s, axis in zip(shapes, axes, strict=True)]
    dys = normals((3, 5, 4), (3, 4), (3, 4), seed=1)

    def pulled(f):
        y, pull = jax.vjp(jax.vmap(f, axes), *map(jnp.asarray, normals(*shapes)))
        return y, pull(tuple(map(jnp.asarray, dys)))

    close(pulled(ops.batch_norm), pulled(batch_norm_reference))


def test_the_rest_of_the_mean_is_right_wherever_it_is_taken_off(monkeypatch):
    monkeypatch.setattr(_batch_norm, "FAR", 1e-30)  # all means but 0 are far
    report = verify.check_ops(["batch_norm"], claims=["value", "vjp", "dtype"])
    assert report.ok, str(report)


@pytest.mark.parametrize("far, right", [(_batch_norm.FAR, True), (1e30, False)])
def test_the_rest_of_the_mean_is_needed_far_from_zero(far, right, monkeypatch):
    monkeypatch.setattr(_batch_norm, "FAR", far)
    x = np.full((999, 2), 1000.1, np.float32)
    scale, offset = np.float32([[1, -2], [4, 5]])
    y, _, variance = jax.jit(lambda x: ops.batch_norm(x, scale, offset))(x)
    assert (np.abs(y - offset).max() < 1e-6) == right
    assert (variance.max() < 1e-15) == right


def test_a_batch_of_any_size_lowers():
    shape = jax.export.symbolic_shape("b, 8, 8, 3")
    x, scale = (jax.ShapeDtypeStruct(s, jnp.float32) for s in (shape, (3,)))

    def step(dy, *arrays):
        y, pull = jax.vjp(ops.batch_norm, *arrays)
        return y, pull((dy, *arrays[1:]))

    platforms = ["cpu", "cuda", "rocm", "tpu"]
    lowered = jax.export.export(jax.jit(step), platforms=platforms)(x, x, scale, scale)
    arrays = normals((5, 8, 8, 3), (5, 8, 8, 3), (3,), (3,))
    arrays = [jnp.asarray(a, jnp.float32) for a in arrays]
    close(lowered.call(*arrays), step(*arrays), 1e-5)


def test_mixed_dtypes():
    x, scale, offset = (jnp.asarray(a) for a in normals((5, 4), (4,), (4,)))
    found = ops.batch_norm(x.astype("bfloat16"), scale.astype("float32"), offset)
    assert [a.dtype for a in found] == [jnp.bfloat16, jnp.float32, jnp.float32]
