"""Transformations of a pullback, each run or lowered and compared with the plain one.

What needs devices uses eight, and two problems on each.
"""

import threading
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import export
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from funcnn.verify.functions._cotangents import pullback
from funcnn.verify.programs._compile import jit, supported_options
from funcnn.verify.transformations._trial_problems import COUNT, Problems

DEVICES = COUNT // 2
PLATFORMS = ("cpu", "cuda", "rocm", "tpu")

# Two programs that wait for each other's devices would wait for ever.
_all_devices = threading.Lock()


def jitted(p: Problems):
    """Compiled, the pullback is what it is an operation at a time."""
    p.agree(jit(p.pull)(*p.one), p.plain[0])


def mapped(p: Problems):
    """`vmap` of the pullback, everything batched."""
    p.agree_all(jit(jax.vmap(p.pull))(*p.stack))


def scanned(p: Problems):
    """The pullback of a `scan` over the function."""

    def loop(leaves, held):
        return jax.lax.scan(lambda _, row: (None, p.f(*row)), None, (leaves, held))[1]

    def pull(leaves, held, dys):
        return pullback(lambda *leaves: loop(leaves, held), leaves, dys)

    p.agree_all(jit(pull)(*p.stack))


def checkpointed(p: Problems):
    """The pullback of `jax.checkpoint` of the function."""

    def pull(leaves, held, dys):
        f = jax.checkpoint(lambda *leaves: p.f(leaves, held))
        return pullback(f, leaves, dys)

    p.agree(jit(pull)(*p.one), p.plain[0])


def _second(p: Problems, derivative):
    got = jit(partial(derivative, p.pull))(*p.one)
    reference = partial(p.split.call, p.op.reference)

    def plain(leaves, held, dys):
        return pullback(lambda *leaves: reference(leaves, held), leaves, dys)

    p.agree(got, jit(partial(derivative, plain))(*p.one))


def reversed_twice(p: Problems):
    """Reverse mode over the pullback, against that of the reference."""

    def derivative(pull, leaves, held, dys):
        return jax.vjp(lambda leaves: pull(leaves, held, dys), leaves)[1](p.along)[0]

    _second(p, derivative)


def pushed(p: Problems):
    """Forward mode over the pullback, against that of the reference."""

    def derivative(pull, leaves, held, dys):
        return jax.jvp(lambda leaves: pull(leaves, held, dys), (leaves,), (p.along,))[1]

    _second(p, derivative)


def mesh():
    """Problems devices in a row.

    Raises:
        RuntimeError: if there are fewer.
    """
    devices = jax.devices("cpu")
    if len(devices) < DEVICES:
        raise RuntimeError(
            f"the matrix needs {DEVICES} devices and JAX has {len(devices)}: run "
            "`python -m funcnn.verify --matrix`, or set jax_num_cpu_devices before the "
            "first array is made."
        )
    return Mesh(np.array(devices[:DEVICES]), ("i",))


def shard_mapped(p: Problems):
    """`shard_map` of the pullback, two problems to a device."""
    pull = jax.shard_map(jax.vmap(p.pull), mesh=mesh(), in_specs=P("i"), out_specs=P("i"))
    with _all_devices:
        p.agree_all(jax.block_until_ready(jit(pull)(*p.stack)))


def replicated(p: Problems):
    """The pullback of `shard_map`, some arguments spread and the others on every device.

    Once the first leaf is spread, once all that is not the first leaf.
    """
    first = [i == 0 for i in range(len(p.leaves))]
    _partly_spread(p, first, False)
    if len(first) > 1 or p.held:
        _partly_spread(p, [not f for f in first], True)


def _partly_spread(p, leaves_spread, held_spread):
    specs = [P("i") if s else P() for s in (*leaves_spread, held_spread)]
    axes = [0 if s else None for s in (*leaves_spread, held_spread)]
    f = jax.shard_map(
        jax.vmap(p.f, in_axes=(axes[:-1], axes[-1])),
        mesh=mesh(),
        in_specs=(specs[:-1], specs[-1]),
        out_specs=P("i"),
    )

    def pull(leaves, held, dys):
        return pullback(lambda *leaves: f([*leaves], held), leaves, dys)

    stacks, held, dys = p.stack
    one_held = p.held_of(0)
    pairs = list(zip(leaves_spread, stacks, p.leaves, strict=True))
    given = [stack if s else leaf for s, stack, leaf in pairs]
    with _all_devices:
        got = jax.block_until_ready(
            jit(pull)(given, held if held_spread else one_held, dys)
        )
    alone = []
    for i in range(COUNT):
        leaves = [jnp.asarray(stack[i] if s else leaf) for s, stack, leaf in pairs]
        held = p.held_of(i) if held_spread else one_held
        alone.append(p.pull(leaves, held, p.dys_of(i)))
    want = [
        np.stack(cts) if s else sum(cts)
        for s, cts in zip(leaves_spread, zip(*alone, strict=True), strict=True)
    ]
    p.agree(got, want)


def sharded(p: Problems):
    """`vmap` of the pullback, jitted, of arrays that are spread over devices."""
    spread = NamedSharding(mesh(), P("i"))
    with _all_devices:
        got = jax.block_until_ready(jit(jax.vmap(p.pull))(*jax.device_put(p.stack, spread)))
    p.agree_all(got)


def donated(p: Problems):
    """The pullback writes over leaves that are given to it, and is right."""
    given = [jnp.array(a) for a in p.leaves]
    p.agree(run_over(p.pull, given, *p.one[1:]), p.plain[0])


def run_over(f, given, *rest):
    """Run `f`, compiled to write over the arrays in `given`; all of them must be gone."""
    options = supported_options()
    over = jax.jit(f, donate_argnums=0, keep_unused=True, compiler_options=options)
    got = over(given, *rest)
    kept = sum(not a.is_deleted() for a in given)
    assert not kept, f"{kept} of {len(given)} donated arrays are not written over."
    return got


def exported(platform, p: Problems):
    """The pullback lowers for a platform; for the CPU what was lowered is run too."""
    lowered = export.export(jax.jit(p.pull), platforms=[platform])(*p.one)
    assert lowered.platforms == (platform,)
    assert lowered.mlir_module_serialized
    if platform == "cpu":
        p.agree(jit(lowered.call)(*p.one), p.plain[0])


CELLS: dict[str, Callable[[Problems], object]] = {
    "jit": jitted,
    "vmap": mapped,
    "scan": scanned,
    "remat": checkpointed,
    "rev2": reversed_twice,
    "fwd2": pushed,
    "smap": shard_mapped,
    "psum": replicated,
    "shard": sharded,
    "donate": donated,
    **{platform: partial(exported, platform) for platform in PLATFORMS},
}
