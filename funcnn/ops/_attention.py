r"""Scaled dot-product attention (Vaswani et al., 2017, arXiv:1706.03762).

**Forward.** For queries $q_t$, keys $k_s$ and values $v_s$ of one head,

$$a_{ts} = c\,q_t \cdot k_s + b_{ts}, \qquad p_{ts} = \frac{e^{a_{ts}}}{\sum_u e^{a_{tu}}},
\qquad y_t = \sum_s p_{ts}\,v_s,$$

where only keys that are visible from $t$ take part; with a soft cap $\lambda$ the product
$c\,q_t \cdot k_s$ goes through $\lambda \tanh(\cdot / \lambda)$ before the bias is added.
All of it is computed a block of scores at a time. Of the keys in a block, $m$ is a row's
largest score, $z = \sum_s e^{a_s - m}$ and $u = \sum_s e^{a_s - m} v_s$. Two blocks have
together

$$m = \max(m_1, m_2), \qquad z = e^{m_1 - m} z_1 + e^{m_2 - m} z_2, \qquad
u = e^{m_1 - m} u_1 + e^{m_2 - m} u_2,$$

the online softmax of Milakov & Gimelshein (arXiv:1805.02867), and at the end $y = u / z$.

**Backward.** From $\dot y_t = \sum_s \dot p_{ts} v_s + p_{ts} \dot v_s$ and the pushforward
of softmax, $\dot p_{ts} = p_{ts} (\dot a_{ts} - \sum_u p_{tu} \dot a_{tu})$, transposed:

$$\bar v_s = \sum_t p_{ts}\,\bar y_t, \qquad
\bar a_{ts} = p_{ts}\,(\bar y_t \cdot v_s - \delta_t), \qquad
\delta_t = \sum_u p_{tu}\,\bar y_t \cdot v_u = \bar y_t \cdot y_t,$$

so that $\delta_t$ needs no row of scores (Dao et al., arXiv:2205.14135). Then

$$\bar q_t = c \sum_s \bar a_{ts} k_s, \qquad \bar k_s = c \sum_t \bar a_{ts} q_t, \qquad
\bar b_{ts} = \bar a_{ts},$$

the last summed over the axes along which $b$ was broadcast, and $\bar k_s$, $\bar v_s$ over
the query heads that share them. With a soft cap, $\bar a$ on its way to $q$ and $k$ is
multiplied by $1 - \tanh^2$.

**Dropout.** With independent $d_{ts}$, 0 for a share $r$ of them and $1 / (1 - r)$ for the
others, $y_t = \sum_s d_{ts} p_{ts} v_s$. So $d_{ts}\,\bar y_t$ stands for $\bar y_t$ in
$\bar v_s$ and in the product with $v_s$, and $\delta_t = \bar y_t \cdot y_t$ still.

**Residuals.** The inputs, $y$, and two numbers a row, $m$ and $z$: rounded into one, large
scores would lose the digits by which they differ. The scores are computed again, block by
block, so that memory grows with $T + S$ and not with $T S$.

**Speed.** In the backward pass $\bar y / z$ stands for $\bar y$, $e^{a - m}$ for $p$ and
$c\,q$ for $q$, so that no array of scores is divided or scaled. Short sequences of which
causality or a window hides something are cut into strips of queries, each with no more keys
than it sees: with four, a causal mask leaves 5/8 of the work. That nothing hidden comes
through takes a pass over keys and values, and backward one over all arrays.

**Hard points.** A query that sees no key, or whose scores are all $-\infty$, gives zeros
and has zero cotangents. A key that a query does not see (by the mask, by causality or a
window, or by a bias of $-\infty$) may hold NaN or inf, as may its value: they reach
neither $y_t$ nor any cotangent that comes through $t$. Nor does anything of a query that
sees no key, or of its cotangent. What is seen does: it makes NaN of the query's row.
"""

import inspect
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from funcnn.foundation._checks import float_arrays
from funcnn.foundation._cotangents import cast_like
from funcnn.foundation._custom_vjp import custom_vjp
from funcnn.foundation._dtypes import promote
from funcnn.kernels import attention as blocks
from funcnn.kernels.attention import _arguments as arguments
from funcnn.kernels.attention import _heads as heads

Window = int | tuple[int | None, int | None] | None


class traced_rate(custom_vjp):  # noqa: N801
    """A rule that holds `dropout` fixed; one that is traced goes along with `key`."""

    @property
    def __call__(self):
        rule = super().__call__

        def call(*args, **named):
            rate = args[10] if len(args) > 10 else named.get("dropout")
            if not isinstance(rate, jax.core.Tracer):
                return rule(*args, **named)
            given = inspect.signature(self.fun).bind(*args, **named)
            given.apply_defaults()
            key = given.arguments["key"]
            return rule(*(given.arguments | {"dropout": None, "key": (key, rate)}).values())

        return call


@partial(traced_rate, nondiff_argnums=(5, 6, 7, 8, 10))
def attention(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    mask: jax.Array | None = None,
    bias: jax.Array | None = None,
    causal: bool = False,
    scale: float | None = None,
    window: Window = None,
    softcap: float | None = None,
    key_lengths: jax.Array | None = None,
    dropout: float | jax.Array = 0.0,
    key: jax.Array | None = None,
) -> jax.Array:
    """Mean of values, weighted by the softmax of queries' products with keys.

    Query heads `h` share the key head `h // (H // K)`: with `K = H` each has its own, with
    `K = 1` all have the same (grouped-query attention, arXiv:2305.13245).

    Args:
        q: shape `(B, T, H, D)`.
        k: shape `(B, S, K, D)`, where K divides H.
        v: shape `(B, S, K, E)`.
        mask: booleans that broadcast to `(B, H, T, S)`, true where a query sees a key.
            What it does not see may hold anything, NaN too. One of three axes is (H, T, S),
            and refused if (B, T, S) fits as well.
        bias: broadcasts to `(B, H, T, S)`; added to the scores, and differentiated.
        causal: whether query `i` sees the keys `j <= i` alone.
        scale: of the products, `1 / sqrt(D)` by default.
        window: query `i` sees the keys from `i - before` to `i + after` alone, with
            `window = (before, after)`, None for no bound; an integer stands for both.
        softcap: bounds products, scaled, by `softcap * tanh(product / softcap)`.
        key_lengths: integers of shape `(B,)`: only so many keys of each example are seen.
        dropout: the share of weights to drop, in [0, 1]; the others are scaled up. If it is
            traced, as a schedule's is, its range is not checked, and it has no gradient.
        key: a key of `jax.random`, for dropout.

    Returns:
        Shape `(B, T, H, E)`, the dtype that q, k and v promote to. Softmax and sums are
        computed in at least float32.

    Raises:
        TypeError: if q, k, v or bias is not floating-point, mask or causal not boolean, or
            there is dropout and no key.
        ValueError: if shapes do not fit, or a number is out of range.
    """
    options = causal, scale, window, softcap, key_lengths, dropout, key
    return attention_fwd(q, k, v, mask, bias, *options)[0]


def attention_fwd(
    q, k, v, mask, bias, causal, scale, window, softcap, key_lengths, dropout, key
):
    q, k, v, bias = float_arrays("attention", optional=["bias"], q=q, k=k, v=v, bias=bias)
    mask = arguments.checked_mask(mask)
    arguments.check_shapes(q, k, v)
    arguments.check_mask(mask, q, k)
    mask = arguments.within(key_lengths, mask, q, k)
    arrays = heads.by_head(q, k, v, mask, bias)
    drop = arguments.checked_drop(dropout, key, q)
    p = arguments.plan(arrays, causal, scale, window, softcap, drop)
    out, top, total = blocks.forward(p, arrays)
    b, t, h = q.shape[:3]
    y = jnp.moveaxis(out, 3, 1).reshape(b, t, h, v.shape[-1]).astype(promote(q, k, v))
    return y, (q, k, v, mask, bias, y, top, total, key)


def attention_bwd(causal, scale, window, softcap, dropout, residuals, dy):
    q, k, v, mask, bias, y, top, total, key = residuals
    arrays = heads.by_head(q, k, v, mask, bias)
    p = arguments.plan(
        arrays, causal, scale, window, softcap, arguments.checked_drop(dropout, key, q)
    )
    like = arrays[0]
    out, dout = (heads.queries_by_head(a.astype(like.dtype), k.shape[2]) for a in (y, dy))
    dq, dk, dv, dbias = blocks.backward(p, arrays, out, top, total, dout)
    dq = jnp.moveaxis(dq, 3, 1).reshape(q.shape)
    dk, dv = jnp.swapaxes(dk, 1, 2), jnp.swapaxes(dv, 1, 2)
    dbias = None if bias is None else dbias.reshape(bias.shape)
    return *cast_like((dq, dk, dv, None, dbias), (q, k, v, mask, bias)), None, None


attention.defvjp(attention_fwd, attention_bwd)


def attention_reference(
    q,
    k,
    v,
    mask=None,
    bias=None,
    causal=False,
    scale=None,
    window=None,
    softcap=None,
    key_lengths=None,
    dropout=0.0,
    key=None,
):
    """The definition, left to `jax.grad`; a row without keys is a row of zeros."""
    k, v = (jnp.repeat(a, q.shape[2] // k.shape[2], 2) for a in (k, v))
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    scores = jnp.einsum("bthd,bshd->bhts", q, k) * scale
    if softcap is not None:
        scores = softcap * jnp.tanh(scores / softcap)
    if bias is not None:
        scores = scores + bias
    i, j = jnp.arange(q.shape[1])[:, None], jnp.arange(k.shape[1])
    keep = jnp.ones(scores.shape, bool) if mask is None else mask
    keep = keep & (j <= i) if causal else keep
    before, after = window if isinstance(window, tuple) else (window, window)
    keep = keep if before is None else keep & (j >= i - before)
    keep = keep if after is None else keep & (j <= i + after)
    if key_lengths is not None:
        keep = keep & (j < key_lengths.astype(j.dtype)[:, None, None, None])
    scores = jnp.where(keep, scores, -jnp.inf)
    top = jax.lax.stop_gradient(scores.max(-1, keepdims=True, initial=-jnp.inf))
    e = jnp.exp(scores - jnp.where(top == -jnp.inf, 0, top))
    total = e.sum(-1, keepdims=True)
    weights = e / jnp.where(total == 0, 1, total)
    if dropout:
        b, h, t, s = weights.shape
        drop = blocks.drop(key, dropout, t)
        kept = blocks.factors(drop, (b, h, 1, t, s), 0, 0, weights.dtype)
        weights = weights * kept.reshape(weights.shape)
    return jnp.einsum("bhts,bshd->bthd", weights, v)


def attention_cases(rng):
    """Arguments on which every claim is tested."""
    normal = rng.standard_normal
    q, k, v = normal((2, 3, 2, 4)), normal((2, 5, 2, 4)), normal((2, 5, 2, 3))
    same = q, q[:, ::-1], v[:, :3]
    mask = rng.random((2, 1, 3, 5)) < 0.6
    mask[0, 0, 1] = False
    return {
        "cross": (q, k, v),
        "causal": (*same, None, None, True),
        "mask, one row empty": (q, k, v, mask),
        "bias": (q, k, v, None, normal((2, 2, 3, 5))),
        "bias a head and key, causal": (q, k, v, None, normal((2, 1, 5)), True),
        "grouped": (normal((1, 3, 4, 2)), normal((1, 3, 2, 2)), normal((1, 3, 2, 2))),
        "one head of keys": (normal((2, 3, 3, 2)), k[:, :, :1, :2], v[:, :, :1]),
        "window": (*same, None, None, False, None, 1),
        "sliding window": (*same, None, None, True, None, (1, None)),
        "scale, softcap": (q, k, v, None, None, False, 2.0, None, 1.5),
        "everything": (q, k, v, mask, normal((2, 3, 5)), True, 0.5, (2, 0), 3.0),
        "lengths": (q, k, v, None, None, False, *3 * [None], np.array([5, 2])),
        "lengths, mask, causal": (
            *same,
            mask[..., :3],
            None,
            True,
            *3 * [None],
            np.array([0, 2]),
        ),
        "dropout": (
            q,
            k,
            v,
            None,
            None,
            False,
            *4 * [None],
            0.4,
            jax.random.key(rng.integers(1 << 31)),
        ),
        "sharp": (1e2 * q, k, v),
        "one key": (q, k[:, :1], v[:, :1]),
        "empty batch": (q[:0], k[:0], v[:0]),
    }
