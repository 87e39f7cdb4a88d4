"""Every op works under every transformation, and the matrix would tell if it did not.

Eight devices are a matter of the whole process, so each test has a process of its own.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnn.verify import Op, discover
from funcnn.verify.transformations import _matrix, _transforms, _trial_problems

# --- wrong in one way each ------------------------------------------------------------


def plain(x):
    return jnp.sin(x)


def rule(bwd, fwd=lambda x: (jnp.sin(x), jnp.cos(x))):
    f = jax.custom_vjp(plain)
    f.defvjp(fwd, lambda residual, dy: (bwd(residual, dy),))
    return f


def right():
    return rule(lambda cos, dy: cos * dy)


def batched_wrong():
    @jax.custom_batching.custom_vmap
    def product(a, b):
        return a * b

    @product.def_vmap
    def batched(size, in_batched, a, b):
        return a[0] * b, True

    return rule(product)


def needs_numbers():
    def bwd(cos, dy):
        return cos * dy if float(dy[0, 0]) else dy

    return rule(bwd)


def leaks():
    """Passes its residual behind JAX's back, which only works within one trace."""
    kept = []

    def fwd(x):
        kept.append(jnp.cos(x))
        return jnp.sin(x), None

    return rule(lambda _, dy: kept.pop() * dy, fwd)


def once_only():
    """Its residual is constant to a second derivative."""
    return rule(
        lambda cos, dy: cos * dy, lambda x: (jnp.sin(x), jax.lax.stop_gradient(jnp.cos(x)))
    )


def calls_itself():
    f = jax.custom_vjp(plain)

    def fwd(x):
        y = f(x)
        return y, y

    f.defvjp(fwd, lambda sin, dy: (jnp.sqrt(1 - sin**2) * dy,))
    return f


def sharding_fixed():
    here = jax.sharding.NamedSharding(_transforms.mesh(), jax.sharding.PartitionSpec())
    return rule(lambda cos, dy: jax.lax.with_sharding_constraint(cos * dy, here))


def four_devices():
    four = jax.sharding.Mesh(np.array(jax.devices()[:4]), ("i",))
    here = jax.sharding.NamedSharding(four, jax.sharding.PartitionSpec())
    return rule(lambda cos, dy: jax.lax.with_sharding_constraint(cos * dy, here))


def calls_back():
    def bwd(cos, dy):
        like = jax.ShapeDtypeStruct(cos.shape, cos.dtype)
        return jax.pure_callback(product, like, cos, dy, vmap_method="expand_dims")

    def product(a, b):  # in a thread of its own, perhaps without float64
        return np.asarray(np.asarray(a) * np.asarray(b), float)

    return rule(bwd)


def cpu_only():
    primitive = jax.extend.core.Primitive("twice_the_cosine")
    twice = jax.interpreters.mlir.lower_fun(
        lambda x: 2 * jnp.cos(x), multiple_results=False
    )
    primitive.def_impl(lambda x: 2 * jnp.cos(x))
    primitive.def_abstract_eval(lambda x: x)
    jax.interpreters.mlir.register_lowering(primitive, twice, platform="cpu")
    return rule(lambda x, dy: primitive.bind(x) / 2 * dy, lambda x: (jnp.sin(x), x))


@jax.custom_vjp
def varies(x, weight):
    return x * weight


varies.defvjp(
    lambda x, weight: (x * weight, (x, weight)), lambda r, dy: (dy * r[1], dy * r[0])
)

SECOND = {"rev2", "fwd2"}
LOWERED = {"cpu", "cuda", "rocm", "tpu"}
# What fails for certain; what those failures bring with them is left open.
FAULTS = {
    "right": set(),
    "batched_wrong": {"vmap", "smap", "shard", "psum"},
    "needs_numbers": _transforms.CELLS.keys(),
    "leaks": {"scan", "remat"},
    "once_only": SECOND,
    "calls_itself": {"fwd2"},
    "sharding_fixed": {"smap"},
    "four_devices": {"smap", "shard"},
    "calls_back": LOWERED,
    "cpu_only": LOWERED - {"cpu"},
    "varies": {"psum"},
}
# Where nothing else may fail.
ALONE = {"right", "once_only", "calls_itself", "varies"}


def fault(name):
    """The op of that name in this file, with cases that tell nothing and one that does."""
    x = np.linspace(0.1, 1, 6).reshape(2, 3)
    if name == "varies":
        return Op(name, varies, lambda x, w: x * w, lambda rng: {"one": (x, x + 1)})
    cases = {"empty": (x[:0],), "zero": (0 * x,), "pole": (np.inf * x,), "one": (x,)}
    f = globals()[name]()
    return Op(name, f, plain, lambda rng: cases)


def print_faults():
    """What the matrix says of each fault, as JSON: run in a process with eight devices."""
    _matrix.eight_devices()
    rows = [row for name in FAULTS for row in _matrix.transformed(fault(name))]
    print(json.dumps([[row.subject, row.case, row.claim, row.failure] for row in rows]))


def run(program):
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("JAX_", "XLA_"))}
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        env=clean | {"JAX_PLATFORMS": "cpu"},
        cwd=Path(__file__).parents[3],
        text=True,
        capture_output=True,
    )


# --- tests ----------------------------------------------------------------------------


OPS = [op.name for op in discover()]
# One of each way to compute: products, windows, blocks, norms, rows of classes, randomness.
KINDS = ["attention", "conv", "dense", "dropout", "layer_norm", "max_pool", "softmax"]
QUARTERS = [OPS[k::4] for k in range(4)]


@pytest.mark.parametrize(
    "names", [KINDS, *(pytest.param(q, marks=pytest.mark.exhaustive) for q in QUARTERS)]
)
def test_every_op_works_under_every_transformation(names):
    done = run(
        "from funcnn.verify.transformations import _matrix as m; m.eight_devices()\n"
        f"report = m.matrix({names}); report.raise_if_failed(); print(len(report.rows))"
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == len(names) * len(_transforms.CELLS)


def test_every_transformation_can_fail():
    done = run(
        "from tests.verify.transformations import test_matrix; test_matrix.print_faults()"
    )
    assert done.returncode == 0, done.stderr
    failed = {name: {} for name in FAULTS}
    for subject, case, claim, failure in json.loads(done.stdout):
        assert case == "one"
        if failure:
            assert failure.startswith(subject)
            failed[subject][claim] = failure
    for name, wanted in FAULTS.items():
        assert wanted <= failed[name].keys(), (name, failed[name])
        if name in ALONE:
            assert wanted == failed[name].keys(), (name, failed[name])
    off = "batched_wrong: the cotangent of x is off by"
    assert failed["batched_wrong"]["vmap"].startswith(off)
    assert failed["calls_itself"]["fwd2"].startswith("calls_itself raises TypeError: ")
    everywhere = set().union(*(found.keys() for name, found in failed.items()))
    assert everywhere == _transforms.CELLS.keys()


def test_an_array_that_is_kept_is_told():
    x = jnp.ones((2, 3))
    (got,) = _transforms.run_over(lambda given: [2 * given[0]], [x])
    assert x.is_deleted()
    assert (got == 2).all()
    kept = [jnp.ones((2, 3)), jnp.ones(3)]
    with (
        pytest.warns(UserWarning, match="donated buffers were not usable"),
        pytest.raises(AssertionError, match="1 of 2 donated arrays are not written over"),
    ):
        _transforms.run_over(lambda given: [given[0].sum() * given[1]], kept)


def test_wrong_numbers_and_shapes_are_told():
    trial = _trial_problems.telling_case(fault("right"))[1]
    (want,) = trial.plain[0]
    trial.agree([want], [want])
    with pytest.raises(AssertionError, match=r"the cotangent of x is off by 1\.0e-03"):
        trial.agree([want * 1.001], [want])
    with pytest.raises(AssertionError, match=r"x has shape \(2,\) and not \(2, 3\)"):
        trial.agree([want[:, 0]], [want])
    with pytest.raises(AssertionError, match="x is off by nan"):
        trial.agree([want * jnp.nan], [want])


def test_an_op_without_a_telling_case():
    op = fault("right")
    rows = _matrix.transformed(op._replace(cases=lambda rng: {"none": (np.zeros(0),)}))
    assert [row.claim for row in rows] == [*_transforms.CELLS]
    (failure,) = {row.failure for row in rows}
    assert failure.startswith("right raises ValueError: there is no case of several finite")


def test_too_few_devices():
    done = run(
        "from funcnn.verify.transformations import _matrix as m\n"
        "try: m.matrix(['relu'])\n"
        "except RuntimeError as error: print(error)"
    )
    assert done.stdout.startswith("the matrix needs 8 devices and JAX has 1: "), done.stderr


def test_names_and_progress():
    done = run(
        "from funcnn.verify.transformations import _matrix as m; m.eight_devices()\n"
        "report = m.matrix(['relu'], progress=print)\n"
        "print(report.ok, *(row.claim for row in report.rows))"
    )
    assert done.stdout.splitlines() == ["1 1", f"True {' '.join(_transforms.CELLS)}"]
    with pytest.raises(ValueError, match="no op 'none'; the ops are attention, avg_pool"):
        _matrix.matrix(["none"])
