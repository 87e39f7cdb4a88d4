"""Few functions of funcnn's stand between a user and `jax.lax`."""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import AbstractMesh, AxisType

import funcnn
from funcnn import layers, ops
from funcnn.foundation._mesh import batch_over

PACKAGE = str(Path(funcnn.__file__).parent)
MESH = AbstractMesh((2,), ("data",), axis_types=(AxisType.Auto,))


def names(frame):
    found = []
    while frame:
        if frame.f_code.co_filename.startswith(PACKAGE):
            found.append(frame.f_code.co_name)
        frame = frame.f_back
    return found[::-1]


@pytest.fixture
def frames(monkeypatch):
    """Those of funcnn's that stand when a function of `jax.lax` is called first."""
    seen = []

    def watch(name):
        usual = getattr(jax.lax, name)

        def watched(*args, **kwargs):
            seen.append(names(sys._getframe(1)))
            return usual(*args, **kwargs)

        monkeypatch.setattr(jax.lax, name, watched)

    for name in ("dot_general", "rsqrt"):
        watch(name)
    return seen


def traced(f, *args, mesh):
    if not mesh:
        return jax.eval_shape(f, *args)
    with batch_over(MESH, ("data",)):
        return jax.eval_shape(f, *args)


@pytest.mark.parametrize("mesh", [False, True], ids=["", "mesh"])
def test_a_dense_in_a_serial_is_five_frames_from_lax(mesh, frames):
    model = layers.Serial(layers.Dense(3))
    params = model.init(jax.random.key(0), (2, 4))
    traced(model.apply, params, jnp.ones((2, 4)), mesh=mesh)
    assert frames[-1][-3:] == ["dense", "dense_fwd", "affine_map"]
    assert len(frames[-1]) <= 5


@pytest.mark.parametrize("mesh", [False, True], ids=["", "mesh"])
def test_a_norm_is_three_frames_from_lax(mesh, frames):
    x = jnp.ones((2, 4))
    traced(ops.layer_norm, x, x[0], x[0], mesh=mesh)
    assert frames == [["layer_norm", "layer_norm_fwd", "local"]]
    traced(ops.rms_norm, x, x[0], mesh=mesh)
    assert frames[1:] == [["rms_norm", "rms_norm_fwd", "local"]]
