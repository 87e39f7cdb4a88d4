"""The definitions once more, as loops over every index in plain Python and NumPy.

Nothing here uses JAX, autodiff or funcnn, so agreement with it is evidence. Linear and
bilinear maps are lists of terms: a term `(i, j, k)` says that `a[i] * b[j]` is added to
`y[k]`. Reading the same list backwards gives the gradients as sums over every index.
"""

import itertools
import math

import numpy as np


def indices(shape):
    """Every index of an array of `shape`, in row-major order."""
    return itertools.product(*map(range, shape))


def per_axis(value, rank):
    return (value,) * rank if isinstance(value, int) else tuple(value)


# Linear and bilinear maps


def linear(terms, x, shape):
    y = np.zeros(shape)
    for i, k in terms:
        y[k] += x[i]
    return y


def linear_grad(terms, shape, dy):
    dx = np.zeros(shape)
    for i, k in terms:
        dx[i] += dy[k]
    return dx


def bilinear(terms, a, b, shape):
    y = np.zeros(shape)
    for i, j, k in terms:
        y[k] += a[i] * b[j]
    return y


def bilinear_grad(terms, a, b, dy):
    da, db = np.zeros(a.shape), np.zeros(b.shape)
    for i, j, k in terms:
        da[i] += dy[k] * b[j]
        db[j] += dy[k] * a[i]
    return da, db


def bias_grad(dy):
    db = np.zeros(dy.shape[-1])
    for k in indices(dy.shape):
        db[k[-1]] += dy[k]
    return db


# Products


def dense_terms(x, weight):
    m, n = weight.shape
    return [
        ((*row, i), (i, j), (*row, j))
        for row in indices(x.shape[:-1])
        for i in range(m)
        for j in range(n)
    ]


def dense(x, weight, bias=None):
    shape = (*x.shape[:-1], weight.shape[1])
    y = bilinear(dense_terms(x, weight), x, weight, shape)
    for k in indices(shape):
        y[k] += 0.0 if bias is None else bias[k[-1]]
    return y


def dense_grad(x, weight, bias, dy):
    dx, dweight = bilinear_grad(dense_terms(x, weight), x, weight, dy)
    return dx, dweight, None if bias is None else bias_grad(dy)


def matmul_terms(a, b):
    """The terms of `a @ b` and its shape; batch axes of size 1 are stretched."""
    rows, columns = a.shape[:-1][-1:], b.shape[-1:] if b.ndim > 1 else ()
    left, right = a.shape[:-2], b.shape[:-2]
    rank = max(len(left), len(right))
    batch = tuple(
        n if m == 1 else m
        for m, n in zip(
            (1,) * (rank - len(left)) + left,
            (1,) * (rank - len(right)) + right,
            strict=True,
        )
    )

    def element(index, own):
        """The element of a stack of shape `own` that serves batch element `index`."""
        index = index[rank - len(own) :]
        return tuple(0 if n == 1 else i for i, n in zip(index, own, strict=True))

    terms = [
        (
            (*element(index, left), *row, s),
            (*element(index, right), s, *column),
            (*index, *row, *column),
        )
        for index in indices(batch)
        for row in indices(rows)
        for column in indices(columns)
        for s in range(a.shape[-1])
    ]
    return terms, (*batch, *rows, *columns)


def tensordot_terms(a, b, axes):
    """The terms of `tensordot(a, b, axes)` and its shape."""
    if isinstance(axes, int):
        axes = (range(a.ndim - axes, a.ndim), range(axes))
    a_axes, b_axes = ([s] if isinstance(s, int) else list(s) for s in axes)
    a_axes, b_axes = [s % a.ndim for s in a_axes], [s % b.ndim for s in b_axes]
    a_free = [s for s in range(a.ndim) if s not in a_axes]
    b_free = [s for s in range(b.ndim) if s not in b_axes]
    terms = []
    for i in indices(a.shape):
        for j in indices(b.shape):
            if [i[s] for s in a_axes] == [j[s] for s in b_axes]:
                terms.append((i, j, (*(i[s] for s in a_free), *(j[s] for s in b_free))))
    return terms, tuple(
        [a.shape[s] for s in a_free] + [b.shape[s] for s in b_free],
    )


def dot_terms(a, b):
    """The terms of `dot(a, b)` as NumPy defines it, and its shape."""
    if not a.ndim or not b.ndim:
        terms = [(i, j, (*i, *j)) for i in indices(a.shape) for j in indices(b.shape)]
        return terms, a.shape + b.shape
    return tensordot_terms(a, b, (-1, -2 if b.ndim > 1 else 0))


# Windows


def count_windows(size, kernel, stride, dilation):
    """How many windows start at a multiple of `stride` and end inside `size`."""
    return sum(s + (kernel - 1) * dilation < size for s in range(0, size, stride))


def pads(size, kernel, stride, padding, dilation):
    """Zeros before and after one axis.

    SAME is `ceil(size / stride)` windows with the least padding that holds them, the
    odd zero after.
    """
    if padding == "VALID":
        return 0, 0
    total, wanted = 0, -(-size // stride)
    while count_windows(size + total, kernel, stride, dilation) < wanted:
        total += 1
    return total // 2, total - total // 2


def taps(spatial, kernel, stride, padding, dilation=1):
    """Where windows touch the input, and the shape of the windows' positions.

    Yields `(out, k, at)`: entry `k` of the window at `out` lies over input `at`, in
    row-major order of `k`. Entries over the padding are left out.
    """
    rank = len(spatial)
    kernel, stride, dilation = (per_axis(v, rank) for v in (kernel, stride, dilation))
    axes = list(zip(spatial, kernel, stride, dilation, strict=True))
    if isinstance(padding, str):
        padding = [pads(n, k, s, padding, d) for n, k, s, d in axes]
    elif isinstance(padding, int):
        padding = [(padding, padding)] * rank
    out_shape = tuple(
        count_windows(low + n + high, k, s, d)
        for (n, k, s, d), (low, high) in zip(axes, padding, strict=True)
    )
    found = []
    for out in indices(out_shape):
        for k in indices(kernel):
            at = tuple(
                out[a] * stride[a] + k[a] * dilation[a] - padding[a][0] for a in range(rank)
            )
            if all(0 <= at[a] < spatial[a] for a in range(rank)):
                found.append((out, k, at))
    return found, out_shape


def conv_terms(x, weight, stride, padding, dilation, groups):
    """The terms of a convolution and its shape; group g maps its channels to its."""
    count, *spatial, _ = x.shape
    *kernel, c_each, o_all = weight.shape
    found, out_shape = taps(spatial, kernel, stride, padding, dilation)
    o_each = o_all // groups
    terms = [
        ((n, *at, g * c_each + c), (*k, c, g * o_each + o), (n, *out, g * o_each + o))
        for n in range(count)
        for out, k, at in found
        for g in range(groups)
        for c in range(c_each)
        for o in range(o_each)
    ]
    return terms, (count, *out_shape, o_all)


def conv(x, weight, bias=None, stride=1, padding="SAME", dilation=1, groups=1):
    terms, shape = conv_terms(x, weight, stride, padding, dilation, groups)
    y = bilinear(terms, x, weight, shape)
    for k in indices(shape):
        y[k] += 0.0 if bias is None else bias[k[-1]]
    return y


def conv_grad(x, weight, bias, dy, stride=1, padding="SAME", dilation=1, groups=1):
    terms, _ = conv_terms(x, weight, stride, padding, dilation, groups)
    dx, dweight = bilinear_grad(terms, x, weight, dy)
    return dx, dweight, None if bias is None else bias_grad(dy)


def conv_transpose_terms(x, weight, stride, padding, dilation):
    """The terms of a transposed convolution and its shape, from where each x[i] lands."""
    count, *spatial, _ = x.shape
    *kernel, c_all, o_all = weight.shape
    rank = len(spatial)
    axes = []
    for n, k, s, d, pad in zip(
        spatial,
        kernel,
        per_axis(stride, rank),
        per_axis(dilation, rank),
        padding if isinstance(padding, tuple) else (padding,) * rank,
        strict=True,
    ):
        reach = d * (k - 1)
        # what lands on the output's first place from x[0]: all of the kernel, or half of it
        if pad == "SAME":
            length = n * s
            low = reach if s > reach else -(-(reach + s - 1) // 2)
        elif pad == "VALID":
            length, low = (n - 1) * s + max(reach + 1, s), reach
        else:
            low, high = pad if isinstance(pad, tuple) else (pad, pad)
            length = (n - 1) * s + 1 + low + high - reach
        axes.append(
            (
                length,
                [
                    (i, j, s * i + low - d * j)
                    for i in range(n)
                    for j in range(k)
                    if 0 <= s * i + low - d * j < length
                ],
            )
        )
    terms = [
        (
            (n, *(i for i, _, _ in places), c),
            (*(j for _, j, _ in places), c, o),
            (n, *(p for _, _, p in places), o),
        )
        for n in range(count)
        for places in itertools.product(*(found for _, found in axes))
        for c in range(c_all)
        for o in range(o_all)
    ]
    return terms, (count, *(length for length, _ in axes), o_all)


def conv_transpose(x, weight, bias, stride=1, padding="SAME", dilation=1):
    terms, shape = conv_transpose_terms(x, weight, stride, padding, dilation)
    y = bilinear(terms, x, weight, shape)
    for k in indices(shape):
        y[k] += bias[k[-1]]
    return y


def conv_transpose_grad(x, weight, bias, dy, stride=1, padding="SAME", dilation=1):
    terms, _ = conv_transpose_terms(x, weight, stride, padding, dilation)
    dx, dweight = bilinear_grad(terms, x, weight, dy)
    return dx, dweight, bias_grad(dy)


def max_pool(x, window, stride=None, padding="VALID"):
    """The maxima, and for each where it was first seen."""
    count, *spatial, channels = x.shape
    window = per_axis(window, len(spatial))
    found, out_shape = taps(spatial, window, stride or window, padding)
    y = np.full((count, *out_shape, channels), -math.inf)
    where = {}
    for n, c in itertools.product(range(count), range(channels)):
        for out, _, at in found:
            i, k = (n, *at, c), (n, *out, c)
            if k not in where or x[i] > y[k]:
                y[k], where[k] = x[i], i
    return y, where


def max_pool_grad(x, where, dy):
    return linear_grad([(i, k) for k, i in where.items()], x.shape, dy)


def avg_pool_terms(x, window, stride=None, padding="VALID"):
    """The terms of a sum over windows, its shape, and the window's size."""
    count, *spatial, channels = x.shape
    window = per_axis(window, len(spatial))
    found, out_shape = taps(spatial, window, stride or window, padding)
    terms = [
        ((n, *at, c), (n, *out, c))
        for n in range(count)
        for out, _, at in found
        for c in range(channels)
    ]
    return terms, (count, *out_shape, channels), math.prod(window)


def avg_pool(x, window, stride=None, padding="VALID"):
    terms, shape, size = avg_pool_terms(x, window, stride, padding)
    return linear(terms, x, shape) / size


def avg_pool_grad(x, dy, window, stride=None, padding="VALID"):
    terms, _, size = avg_pool_terms(x, window, stride, padding)
    return linear_grad(terms, x.shape, dy / size)


def im2col_terms(shape, kernel_size, stride=1, padding="SAME", dilation=1):
    """The terms of im2col for an input of `shape`, and its output's shape."""
    count, *spatial, channels = shape
    kernel = per_axis(kernel_size, len(spatial))
    found, out_shape = taps(spatial, kernel, stride, padding, dilation)
    place = {k: p for p, k in enumerate(indices(kernel))}
    terms = [
        ((n, *at, c), (n, *out, place[k] * channels + c))
        for n in range(count)
        for out, k, at in found
        for c in range(channels)
    ]
    return terms, (count, *out_shape, math.prod(kernel) * channels)


# Rows: functions of the last axis


def on_rows(f, *arrays):
    """Apply `f` to the rows of arrays of equal leading shape and stack the results."""
    y = np.zeros(arrays[0].shape)
    for row in indices(arrays[0].shape[:-1]):
        y[row] = f(*(a[row] for a in arrays))
    return y


def pull(jacobian, dy):
    """Sum `dy[i] * jacobian[i, j]` over i."""
    n = len(dy)
    return [sum(dy[i] * jacobian[i][j] for i in range(n)) for j in range(n)]


def normalise(x, eps):
    """A row less its mean over its standard deviation, and the Jacobian of that."""
    d = len(x)
    mean = math.fsum(x) / d
    centred = [v - mean for v in x]
    std = math.sqrt(math.fsum(v * v for v in centred) / d + eps)
    jacobian = [
        [((i == j) - 1 / d) / std - centred[i] * centred[j] / (d * std**3)]
        for i, j in indices((d, d))
    ]
    return [v / std for v in centred], np.reshape(jacobian, (d, d))


def layer_norm(x, scale, offset, eps=1e-6):
    def f(row):
        return [scale[i] * v + offset[i] for i, v in enumerate(normalise(row, eps)[0])]

    return on_rows(f, x)


def layer_norm_grad(x, scale, offset, dy, eps=1e-6):
    dscale, doffset = np.zeros(scale.shape), np.zeros(offset.shape)

    def f(row, drow):
        xhat, jacobian = normalise(row, eps)
        for i in range(len(row)):
            dscale[i] += drow[i] * xhat[i]
            doffset[i] += drow[i]
        return pull(jacobian, [drow[i] * scale[i] for i in range(len(row))])

    return on_rows(f, x, dy), dscale, doffset


def rms_norm(x, scale, eps=1e-6):
    def f(row):
        rms = math.sqrt(math.fsum(v * v for v in row) / len(row) + eps)
        return [scale[i] * v / rms for i, v in enumerate(row)]

    return on_rows(f, x)


def rms_norm_grad(x, scale, dy, eps=1e-6):
    dscale = np.zeros(scale.shape)

    def f(row, drow):
        d = len(row)
        rms = math.sqrt(math.fsum(v * v for v in row) / d + eps)
        for i in range(d):
            dscale[i] += drow[i] * row[i] / rms
        jacobian = [
            ((i == j) - row[i] * row[j] / (d * rms**2)) / rms for i, j in indices((d, d))
        ]
        g = [drow[i] * scale[i] for i in range(d)]
        return pull(np.reshape(jacobian, (d, d)), g)

    return on_rows(f, x, dy), dscale


def group_norm(x, scale, offset, groups, eps=1e-6):
    y = np.zeros(x.shape)
    for n, block in groups_of(x, groups):
        row, channel = x[n][..., block].ravel(), np.tile(block, x[0, ..., 0].size)
        xhat = normalise(row, eps)[0]
        z = [scale[c] * v + offset[c] for c, v in zip(channel, xhat, strict=True)]
        y[n][..., block] = np.reshape(z, x[n][..., block].shape)
    return y


def group_norm_grad(x, scale, offset, dy, groups, eps=1e-6):
    dx, dscale, doffset = (np.zeros(a.shape) for a in (x, scale, offset))
    for n, block in groups_of(x, groups):
        row, channel = x[n][..., block].ravel(), np.tile(block, x[0, ..., 0].size)
        drow = dy[n][..., block].ravel()
        xhat, jacobian = normalise(row, eps)
        for c, v, d in zip(channel, xhat, drow, strict=True):
            dscale[c] += d * v
            doffset[c] += d
        g = [d * scale[c] for c, d in zip(channel, drow, strict=True)]
        dx[n][..., block] = np.reshape(pull(jacobian, g), x[n][..., block].shape)
    return dx, dscale, doffset


def groups_of(x, groups):
    """Each image's number with each group's channels."""
    width = x.shape[-1] // groups
    return [
        (n, list(range(j * width, (j + 1) * width)))
        for n in range(len(x))
        for j in range(groups)
    ]


def batch_norm(x, scale, offset, eps=1e-6):
    """The values, then the means and the variances, in one flat array."""
    y, means, variances = np.zeros(x.shape), [], []
    for c, column in enumerate(columns_of(x)):
        z = [scale[c] * v + offset[c] for v in normalise(column, eps)[0]]
        y[..., c] = np.reshape(z, x.shape[:-1])
        means.append(math.fsum(column) / len(column))
        squares = [(v - means[-1]) ** 2 for v in column]
        variances.append(math.fsum(squares) / len(column))
    return np.concatenate([y.ravel(), means, variances])


def batch_norm_grad(x, scale, offset, dy, eps=1e-6):
    dx, dscale, doffset = (np.zeros(a.shape) for a in (x, scale, offset))
    dmeans, dvariances = dy[x.size :].reshape(2, -1)
    dys = columns_of(dy[: x.size].reshape(x.shape))
    for c, (column, d) in enumerate(zip(columns_of(x), dys, strict=True)):
        xhat, jacobian = normalise(column, eps)
        dscale[c] = sum(a * b for a, b in zip(d, xhat, strict=True))
        doffset[c] = sum(d)
        n, mean = len(column), math.fsum(column) / len(column)
        pulled = pull(jacobian, [v * scale[c] for v in d])
        for i, v in enumerate(column):
            pulled[i] += (dmeans[c] + 2 * dvariances[c] * (v - mean)) / n
        dx[..., c] = np.reshape(pulled, x.shape[:-1])
    return dx, dscale, doffset


def columns_of(x):
    """The numbers of each channel."""
    return [list(x[..., c].ravel()) for c in range(x.shape[-1])]


def logsumexp(row):
    top = max(row)
    return top + math.log(math.fsum(math.exp(v - top) for v in row))


def softmax_row(row):
    lse = logsumexp(row)
    return [math.exp(v - lse) for v in row]


def softmax(x):
    return on_rows(softmax_row, x)


def softmax_grad(x, dy):
    def f(row, drow):
        p = softmax_row(row)
        n = len(p)
        return pull([[p[i] * ((i == j) - p[j]) for j in range(n)] for i in range(n)], drow)

    return on_rows(f, x, dy)


def log_softmax(x):
    return on_rows(lambda row: [v - logsumexp(row) for v in row], x)


def log_softmax_grad(x, dy):
    def f(row, drow):
        p = softmax_row(row)
        n = len(p)
        return pull([[(i == j) - p[j] for j in range(n)] for i in range(n)], drow)

    return on_rows(f, x, dy)


# Losses


def distribution(label, classes, smoothing):
    """A label, an integer or probabilities, as a smoothed list of probabilities."""
    if np.ndim(label) == 0:
        label = [float(c == label) for c in range(classes)]
    return [(1 - smoothing) * label[c] + smoothing / classes for c in range(classes)]


def softmax_cross_entropy(logits, labels, label_smoothing=0.0, z_loss=0.0):
    y = np.zeros(logits.shape[:-1])
    for row in indices(y.shape):
        lse, classes = logsumexp(logits[row]), logits.shape[-1]
        for c, q in enumerate(distribution(labels[row], classes, label_smoothing)):
            y[row] += q * (lse - logits[row][c])
        y[row] += z_loss * lse**2
    return y


def softmax_cross_entropy_grad(logits, labels, dy, label_smoothing=0.0, z_loss=0.0):
    """Gradients in the logits and, if the labels are probabilities, in them."""
    dlogits = np.zeros(logits.shape)
    dlabels = np.zeros(labels.shape)
    for row in indices(dy.shape):
        lse, classes = logsumexp(logits[row]), logits.shape[-1]
        p = softmax_row(logits[row])
        for c, q in enumerate(distribution(labels[row], classes, label_smoothing)):
            # q (lse - logit[c]) moves with every logit; z lse^2 does too.
            for j in range(classes):
                dlogits[row][j] += dy[row] * q * (p[j] - (j == c))
            dlogits[row][c] += dy[row] * 2 * z_loss * lse * p[c]
            if labels.ndim == logits.ndim:
                slope = (1 - label_smoothing) * (lse - logits[row][c])
                dlabels[row][c] = dy[row] * slope
    return dlogits, dlabels


def capped(logits, softcap):
    return logits if softcap is None else softcap * np.tanh(logits / softcap)


def linear_softmax_cross_entropy(x, weight, bias, labels, softcap, ignore, *constants):
    logits = capped(dense(x, weight, bias), softcap)
    y = np.zeros(labels.shape)
    for row in indices(y.shape):
        if labels[row] != ignore:
            y[row] = softmax_cross_entropy(logits[row], labels[row], *constants)
    return y


def linear_softmax_cross_entropy_grad(
    x, weight, bias, labels, softcap, ignore, dy, *constants
):
    plain = dense(x, weight, bias)
    logits, dlogits = capped(plain, softcap), np.zeros(plain.shape)
    for row in indices(labels.shape):
        if labels[row] != ignore:
            dlogits[row], _ = softmax_cross_entropy_grad(
                logits[row], labels[row], dy[row], *constants
            )
    if softcap is not None:
        dlogits /= np.cosh(plain / softcap) ** 2
    return dense_grad(x, weight, bias, dlogits)


def cross_entropy(probs, labels, eps=1e-10):
    y = np.zeros(probs.shape[:-1])
    for row in indices(y.shape):
        for c, q in enumerate(distribution(labels[row], probs.shape[-1], 0.0)):
            y[row] -= q * math.log(probs[row][c] + eps)
    return y


def cross_entropy_grad(probs, labels, dy, eps=1e-10):
    dprobs, dlabels = np.zeros(probs.shape), np.zeros(labels.shape)
    for row in indices(dy.shape):
        for c, q in enumerate(distribution(labels[row], probs.shape[-1], 0.0)):
            dprobs[row][c] = -dy[row] * q / (probs[row][c] + eps)
            if labels.ndim == probs.ndim:
                dlabels[row][c] = -dy[row] * math.log(probs[row][c] + eps)
    return dprobs, dlabels


def mse(prediction, target):
    y = np.zeros(prediction.shape)
    for i in indices(y.shape):
        y[i] = (prediction[i] - target[i]) ** 2
    return y


def mse_grad(prediction, target, dy):
    dprediction, dtarget = np.zeros(dy.shape), np.zeros(dy.shape)
    for i in indices(dy.shape):
        dprediction[i] = 2 * (prediction[i] - target[i]) * dy[i]
        dtarget[i] = 2 * (target[i] - prediction[i]) * dy[i]
    return dprediction, dtarget


def gated(activation, gate, value, dy):
    """What passes the gate, and the cotangents of both; `activation` is one of below."""
    y, dgate, dvalue = (np.zeros(gate.shape) for _ in range(3))
    for i in indices(gate.shape):
        passing, slope = activation(float(gate[i]))
        y[i] = passing * value[i]
        dgate[i] = slope * value[i] * dy[i]
        dvalue[i] = passing * dy[i]
    return y, dgate, dvalue


# Activations: value and derivative at a number


def relu(x):
    return (x, 1.0) if x > 0 else (0.0, 0.0)


def leaky_relu(x, slope=0.01):
    return (x, 1.0) if x > 0 else (slope * x, slope)


def elu(x, alpha=1.0):
    return (x, 1.0) if x > 0 else (alpha * math.expm1(x), alpha * math.exp(x))


def sigmoid(x):
    return 1 / (1 + math.exp(-x)), 1 / ((1 + math.exp(-x)) * (1 + math.exp(x)))


def tanh(x):
    e = math.exp(-2 * abs(x))
    return math.copysign((1 - e) / (1 + e), x), 4 * e / (1 + e) ** 2


def silu(x):
    p, slope = sigmoid(x)
    return x * p, p + x * slope


def softplus(x):
    return math.log1p(math.exp(-abs(x))) + max(x, 0.0), 1 / (1 + math.exp(-x))


def gelu(x, approximate=True):
    if not approximate:
        cdf = math.erfc(-x / math.sqrt(2)) / 2
        return x * cdf, cdf + x * math.exp(-x * x / 2) / math.sqrt(2 * math.pi)
    root = math.sqrt(2 / math.pi)
    t, slope = tanh(root * (x + 0.044715 * x**3))
    inner = root * (1 + 3 * 0.044715 * x**2)
    return x * (1 + t) / 2, (1 + t) / 2 + x * slope * inner / 2


# Embeddings


def embed(table, ids):
    y = np.zeros((*ids.shape, table.shape[1]))
    for k in indices(y.shape):
        y[k] = table[ids[k[:-1]], k[-1]]
    return y


def embed_grad(table, ids, dy):
    dtable = np.zeros(table.shape)
    for k in indices(dy.shape):
        dtable[ids[k[:-1]], k[-1]] += dy[k]
    return dtable


def rope(x, positions, base=10000.0, sense=1):
    """Pairs of features as complex numbers, each times one of length 1."""
    y, half = np.zeros(x.shape), x.shape[-1] // 2
    for b, t, h, i in indices((*x.shape[:-1], half)):
        position = int(positions[t] if positions.ndim == 1 else positions[b, t])
        angle = sense * position / base ** (i / half)
        z = complex(x[b, t, h, i], x[b, t, h, i + half])
        z *= complex(math.cos(angle), math.sin(angle))
        y[b, t, h, i], y[b, t, h, i + half] = z.real, z.imag
    return y


# Attention


def attention(q, k, v, dy, sees, bias, scale, cap=None):
    """What queries make of the keys that they see, and the cotangents of q, k, v, bias.

    `bias` and `sees` have the shape `(B, H, T, S)`; `cap` bounds the products.
    """
    y = np.zeros((*q.shape[:3], v.shape[3]))
    dq, dk, dv, dbias = (np.zeros(a.shape) for a in (q, k, v, bias))
    share = q.shape[2] // k.shape[2]
    for b, t, h in indices(q.shape[:3]):
        keys = [s for s in range(k.shape[1]) if sees[b, h, t, s]]
        if not keys:
            continue
        g = h // share
        bent, slopes = [], []
        for s in keys:
            product = scale * sum(q[b, t, h, i] * k[b, s, g, i] for i in range(q.shape[3]))
            tanh = 0.0 if cap is None else math.tanh(product / cap)
            bent.append(product if cap is None else cap * tanh)
            slopes.append(1 - tanh**2)
        p = softmax_row([x + bias[b, h, t, s] for x, s in zip(bent, keys, strict=True)])
        dp = []
        for weight, s in zip(p, keys, strict=True):
            y[b, t, h] += weight * v[b, s, g]
            dv[b, s, g] += weight * dy[b, t, h]
            dp.append(sum(dy[b, t, h, i] * v[b, s, g, i] for i in range(v.shape[3])))
        mean = sum(weight * d for weight, d in zip(p, dp, strict=True))
        for weight, d, s, slope in zip(p, dp, keys, slopes, strict=True):
            pull = weight * (d - mean)
            dbias[b, h, t, s] += pull
            dq[b, t, h] += scale * slope * pull * k[b, s, g]
            dk[b, s, g] += scale * slope * pull * q[b, t, h]
    return y, (dq, dk, dv, dbias)
