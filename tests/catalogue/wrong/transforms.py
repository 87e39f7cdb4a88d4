"""Wrong in one way of being run: under vmap, jit, eagerly, or the second time."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_batching import custom_vmap

from ..entry import Entry, normals, rule


def batched(f, vmapped):
    """`f` with a rule for vmap: `vmapped(batched, *args)`, each with the batch in front.

    The rule for derivatives is that of `f`: JAX has none for `custom_vmap`.
    """

    def under_vmap(size, batched, *args):
        together = zip(args, batched, strict=True)
        full = [a if b else jnp.broadcast_to(a, (size, *a.shape)) for a, b in together]
        return vmapped(batched, *full)

    inner = custom_vmap(f)
    inner.def_vmap(under_vmap)
    outer = jax.custom_jvp(lambda *args: inner(*args))
    outer.defjvp(lambda args, tangents: (outer(*args), jax.jvp(f, args, tangents)[1]))
    return outer


slope_of_tanh = batched(lambda x: 1 - jnp.tanh(x) ** 2, lambda _, x: (1 - x**2, True))


def scaled(x, scale):
    return x * scale


def both_scaled(batched, x, scale, dy):
    """A scale that is not batched is taken to have a cotangent that is not."""
    dscale = dy * x if batched[1] else (dy * x)[0]
    return (dy * scale, dscale), (True, batched[1])


scaled_bwd = batched(lambda x, scale, dy: (dy * scale, dy * x), both_scaled)

centre = batched(lambda x: x - x.mean(), lambda _, x: (x - x.mean(), True))


def centred_sine(x):
    return jnp.sin(x) - jnp.sin(x).mean()


def centred_where_batched(x):
    return centre(jnp.sin(x))


def only_traced(r, dy):
    """A cheap slope if it is traced, to spare compilation."""
    (x,) = r
    traced = isinstance(x, jax.core.Tracer)
    return (dy * (1 - x**2 / 2 if traced else jnp.cos(x)),)


def only_eager(r, dy):
    """A slope from a coarse table if there are numbers to look up."""
    (x,) = r
    traced = isinstance(x, jax.core.Tracer)
    return (dy * jnp.cos(x if traced else jnp.round(x, 1)),)


latest: dict = {}


def keep_outside(x):
    latest["x"] = x
    return jnp.sin(x), None


def take_latest(_, dy):
    return (dy * jnp.cos(latest["x"]),)


by_shape: dict = {}


def keep_by_shape(x):
    return jnp.sin(x), by_shape.setdefault((x.shape, x.dtype), x)


generator = np.random.default_rng(0)


def drop(x):
    return x * generator.choice([0, 2], x.shape).astype(x.dtype)


def drop_fwd(x):
    mask = generator.choice([0, 2], x.shape).astype(x.dtype)
    return x * mask, mask


calls: list = []


def first_call_only(r, dy):
    """A switch for debugging that was left in."""
    calls.append(None)
    return (dy * jnp.cos(r[0]) if len(calls) == 1 else dy * (1 - r[0] ** 2 / 2),)


ARRAY = normals((3, 4))

ENTRIES = [
    Entry(
        "vmap_slope",
        "the slope has a rule of its own for vmap, which is wrong",
        rule(jnp.tanh, lambda r, dy: (dy * slope_of_tanh(r[0]),)),
        ARRAY,
        jnp.tanh,
    ),
    Entry(
        "vmap_argument_shared_by_the_batch",
        "right if all arguments are batched; one shared by all has the first's cotangent",
        rule(scaled, lambda r, dy: scaled_bwd(*r, dy)),
        normals((4,), (4,)),
        scaled,
    ),
    Entry(
        "vmap_value_pools_the_batch",
        "under vmap the forward pass takes its mean over the whole batch",
        rule(centred_where_batched, lambda r, dy: (jnp.cos(r[0]) * (dy - dy.mean()),)),
        ARRAY,
        centred_sine,
    ),
    Entry(
        "slope_approximate_if_traced",
        "the rule branches on tracers: wrong under jit and right eagerly",
        rule(jnp.sin, only_traced),
        ARRAY,
        jnp.sin,
    ),
    Entry(
        "slope_approximate_if_not_traced",
        "the rule branches on tracers: wrong eagerly and right under jit",
        rule(jnp.sin, only_eager),
        ARRAY,
        jnp.sin,
    ),
    Entry(
        "residual_outside_the_function",
        "the residual is kept in a global: of two calls the last one's is used",
        rule(jnp.sin, take_latest, keep_outside),
        ARRAY,
        jnp.sin,
    ),
    Entry(
        "residual_cached_by_shape",
        "each shape keeps the first residual it ever had",
        rule(jnp.sin, lambda x, dy: (dy * jnp.cos(x),), keep_by_shape),
        ARRAY,
        jnp.sin,
    ),
    Entry(
        "dropout_from_a_global_generator",
        "function and forward rule draw masks of their own, each time they are traced",
        rule(drop, lambda mask, dy: (dy * mask,), drop_fwd),
        normals((4, 6)),
    ),
    Entry(
        "right_in_the_first_call",
        "a counter makes the rule right in its first call only",
        rule(jnp.sin, first_call_only),
        ARRAY,
        jnp.sin,
    ),
]
