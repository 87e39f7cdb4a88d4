r"""The pullback that normalisations over the last axis share.

With $\hat x = r (x - \mu)$, or $r x$ for a norm that does not centre, $g = \gamma \bar y$
and $\langle a \rangle$ the mean over the last axis,

$$\bar x = r\,(g - \langle g \rangle - \hat x \langle \hat x g \rangle), \qquad
\bar\gamma = \textstyle\sum_{\rm rows} \hat x \bar y, \qquad
\bar\beta = \textstyle\sum_{\rm rows} \bar y,$$

the term $\langle g \rangle$ and $\bar\beta$ for those that centre. The means are products
of the matrices $\bar y$ and $\hat x \bar y$ with the vector $\gamma / d$, and
$\hat x \bar y$ is also what $\bar\gamma$ sums: it is computed once, and kept for both. Of
large arrays a block of rows is done at a time, so that it stays in the cache.
"""

import math
from functools import partial

import jax

from funcnn.foundation._compiler import known, on_cpu
from funcnn.foundation._dtypes import divisor
from funcnn.foundation._mesh import by_device
from funcnn.foundation._products import contract, empty_sum, rows

BLOCK = 2**22  # bytes of a block of rows
LARGE = 6 * 2**20  # beyond, blocks are faster


def pullback(normalized, centred, x, dy, scale, *statistics):
    """The cotangents of `x`, of `scale` and, if `centred`, of the offset.

    Args:
        normalized: a function of `x` and the statistics, giving its normalised form.
        centred: whether the mean was taken off.
        x: shape `(..., d)`.
        dy: shape and dtype of `x`.
        scale: shape `(d,)`.
        statistics: each of shape `(..., 1)`, the inverse deviation last.
    """

    def products(x, dy, scale, *statistics):
        xhat = normalized(x, *statistics)
        product = jax.lax.optimization_barrier(dy * xhat)
        weights = (scale / divisor(scale.shape[0]))[:, None]
        over = (dy.ndim - 1,), (0,)
        dx = scale * dy - xhat * contract(product, weights, *over)
        if not centred:
            return statistics[-1] * dx, product.sum(rows(x))
        dx = dx - contract(dy, weights, *over)
        return statistics[-1] * dx, product.sum(rows(x)), dy.sum(rows(x))

    def means(x, dy, scale, *statistics):
        xhat, g = normalized(x, *statistics), scale * dy
        dx = g - xhat * (xhat * g).mean(-1, keepdims=True)
        if not centred:
            return statistics[-1] * dx, (dy * xhat).sum(rows(x))
        dx = dx - g.mean(-1, keepdims=True)
        return statistics[-1] * dx, (dy * xhat).sum(rows(x)), dy.sum(rows(x))

    def blocks(size, x, dy, scale, *statistics):
        def block(totals, arrays):
            x, dy, *statistics = arrays
            dx, *sums = products(x, dy, scale, *statistics)
            return [t + s for t, s in zip(totals, sums, strict=True)], dx

        start = [empty_sum(scale.shape, x, dy, scale)] * (1 + centred)
        parts = [a.reshape(-1, size, a.shape[-1]) for a in (x, dy, *statistics)]
        totals, dx = jax.lax.scan(block, start, parts)
        return dx.reshape(x.shape), *totals

    def local(x, dy, *others):
        *statistics, scale = others
        size = rows_at_once(x.shape, x.dtype.itemsize)
        here = partial(blocks, size) if size else products
        dx, *sums = on_cpu(here, means, x, dy, scale, *statistics)
        return dx, sums

    arrays = x, dy, *statistics, scale
    batch = (2 + len(statistics)) * (x.ndim > 1)
    dx, sums = by_device(local, arrays, batch, totals=True)(*arrays)
    return dx, *sums


def rows_at_once(shape, itemsize):
    """How many rows of a large array make a block; 0 for all of them."""
    *lead, d = shape
    if not known(shape):
        return 0
    count = math.prod(lead)
    if count * d * itemsize <= LARGE:
        return 0
    most = max(BLOCK // (d * itemsize), 1)
    # the blocks are equal: their size divides the number of rows
    size = next(size for size in range(most, 0, -1) if count % size == 0)
    return size if 4 * size >= most else 0
