"""Values and gradients against PyTorch and optax, in float64."""

import jax
import numpy as np
import pytest

from funcnn import ops
from tests.support.combinations import combinations


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch")


@pytest.fixture(scope="module")
def optax():
    return pytest.importorskip("optax")


def normals(*shapes, seed=0):
    rng = np.random.default_rng(seed)
    return tuple(rng.standard_normal(s) for s in shapes)


def check(torch, op, peer, *arrays, rtol=1e-11, atol=1e-12):
    """Compare `op` of JAX arrays with `peer` of tensors, and their pullbacks."""
    tensors = [torch.tensor(a, requires_grad=True) for a in arrays]
    y = peer(*tensors)
    dy = np.random.default_rng(1).standard_normal(tuple(y.shape))
    y.backward(torch.tensor(dy))

    @jax.jit
    def value_and_gradients(arrays, dy):
        y, pullback = jax.vjp(op, *arrays)
        return y, pullback(dy)

    got, gradients = value_and_gradients(arrays, dy)
    np.testing.assert_allclose(got, y.detach(), rtol, atol, err_msg="the value")
    for i, (g, t) in enumerate(zip(gradients, tensors, strict=True)):
        name = f"the gradient of argument {i}"
        np.testing.assert_allclose(g, t.grad, rtol, atol, err_msg=name)


def channels_first(x):
    return x.movedim(-1, 1)


def channels_last(x):
    return x.movedim(1, -1)


CONV = {
    "one axis": ((2, 9, 3), (4, 3, 5), {}),
    "one axis, strided": ((2, 9, 3), (3, 3, 5), {"stride": 2, "padding": 2}),
    "one axis, depthwise": ((2, 9, 4), (3, 1, 8), {"groups": 4, "dilation": 2}),
    "two axes": ((3, 8, 7, 4), (3, 2, 4, 6), {}),
    "two axes, padded": ((2, 6, 7, 2), (3, 3, 2, 3), {"padding": (1, 2)}),
    "stride beyond kernel": ((2, 9, 8, 2), (2, 2, 2, 3), {"stride": (4, 3)}),
    "dilated and strided": (
        (2, 9, 10, 3),
        (3, 2, 3, 4),
        {"stride": (2, 3), "dilation": (3, 2), "padding": 2},
    ),
    "groups": ((2, 7, 6, 4), (3, 3, 2, 6), {"groups": 2, "stride": 2, "padding": 1}),
    "depthwise": ((2, 7, 6, 3), (3, 3, 1, 3), {"groups": 3, "padding": 1}),
    "three axes": ((2, 4, 5, 6, 2), (2, 3, 2, 2, 3), {"padding": (1, 0, 2)}),
    "three axes, all at once": (
        (1, 5, 6, 5, 4),
        (2, 2, 3, 2, 4),
        {"stride": (2, 1, 3), "dilation": (1, 2, 1), "groups": 2, "padding": 1},
    ),
}


@pytest.mark.parametrize("name", CONV)
def test_conv_as_torch(torch, name):
    x, weight, options = CONV[name]
    rank = len(x) - 2
    pads = options.get("padding", 0)
    pads = (pads,) * rank if isinstance(pads, int) else pads
    ours = {**options, "padding": tuple((p, p) for p in pads)}
    function = getattr(torch.nn.functional, f"conv{rank}d")

    def peer(x, weight, bias):
        weight = weight.movedim((-1, -2), (0, 1))
        return channels_last(function(channels_first(x), weight, bias, **options))

    def op(x, weight, bias):
        return ops.conv(x, weight, bias, **ours)

    check(torch, op, peer, *normals(x, weight, weight[-1:]))


@combinations(
    "rank, geometry",
    [1, 2, 3],
    [(3, 1, 0, 1), (3, 2, 1, 1), (4, 2, 1, 1), (2, 3, 0, 1), (3, 2, 2, 2)],
    quick=2,
)
def test_conv_transpose_as_torch(torch, rank, geometry):
    """PyTorch turns the kernel around, and its padding is what a convolution would have."""
    kernel, stride, padding, dilation = geometry
    function = getattr(torch.nn.functional, f"conv_transpose{rank}d")
    low = dilation * (kernel - 1) - padding

    def peer(x, weight, bias):
        weight = weight.flip(tuple(range(rank))).movedim((-2, -1), (0, 1))
        options = {"stride": stride, "padding": padding, "dilation": dilation}
        return channels_last(function(channels_first(x), weight, bias, **options))

    def op(x, weight, bias):
        return ops.conv_transpose(x, weight, bias, stride, low, dilation)

    shapes = (2, *(4, 3, 5)[:rank], 2), (*(kernel,) * rank, 2, 3), (3,)
    check(torch, op, peer, *normals(*shapes))


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@combinations("kernel, dilation", [(3,), (4,), (3, 3), (2, 5), (4, 1, 2)], [1, 2], quick=3)
def test_same_padding_as_torch(torch, kernel, dilation):
    """Both put the odd zero after."""
    rank = len(kernel)
    function = getattr(torch.nn.functional, f"conv{rank}d")

    def peer(x, weight):
        weight = weight.movedim((-1, -2), (0, 1))
        y = function(channels_first(x), weight, padding="same", dilation=dilation)
        return channels_last(y)

    def op(x, weight):
        return ops.conv(x, weight, padding="SAME", dilation=dilation)

    check(torch, op, peer, *normals((2, *(7, 6, 5)[:rank], 2), (*kernel, 2, 3)))


WINDOWS = [
    (2, None, 0),
    (3, 2, 1),
    ((2, 3), (3, 1), (1, 0)),
    (3, 1, 1),
    ((4, 2), 2, (2, 1)),
]


@combinations("geometry, ties", WINDOWS, [False, True], quick=3)
def test_max_pool_as_torch(torch, geometry, ties):
    window, stride, padding = geometry
    (x,) = normals((2, 8, 9, 3))
    if ties:
        x = np.random.default_rng(2).integers(-2, 1, x.shape).astype(np.float64)
    pads = (padding, padding) if isinstance(padding, int) else padding

    def peer(x):
        function = torch.nn.functional.max_pool2d
        return channels_last(function(channels_first(x), window, stride, padding))

    def op(x):
        return ops.max_pool(x, window, stride, tuple((p, p) for p in pads))

    check(torch, op, peer, x)


@pytest.mark.parametrize(("window", "stride", "padding"), WINDOWS)
def test_avg_pool_as_torch(torch, window, stride, padding):
    pads = (padding, padding) if isinstance(padding, int) else padding

    def peer(x):
        function = torch.nn.functional.avg_pool2d
        return channels_last(function(channels_first(x), window, stride, padding))

    def op(x):
        return ops.avg_pool(x, window, stride, tuple((p, p) for p in pads))

    check(torch, op, peer, *normals((2, 8, 9, 3)))


@pytest.mark.parametrize("rank", [1, 3])
@pytest.mark.parametrize("name", ["max_pool", "avg_pool"])
def test_pools_over_one_and_three_axes_as_torch(torch, name, rank):
    function = getattr(torch.nn.functional, f"{name}{rank}d")
    shape = (2, *(7, 6, 5)[:rank], 3)

    def peer(x):
        return channels_last(function(channels_first(x), 3, 2, 1))

    check(torch, lambda x: getattr(ops, name)(x, 3, 2, 1), peer, *normals(shape))


NORMALIZED = [(7,), (4, 5), (2, 3, 6), (5, 1), (2, 0, 3)]


@combinations("shape, eps", NORMALIZED, [1e-6, 0.1], quick=3)
def test_layer_norm_as_torch(torch, shape, eps):
    width = shape[-1:]

    def peer(x, scale, offset):
        return torch.nn.functional.layer_norm(x, width, scale, offset, eps)

    def op(x, scale, offset):
        return ops.layer_norm(x, scale, offset, eps)

    check(torch, op, peer, *normals(shape, width, width))


@combinations("shape, eps", NORMALIZED, [1e-6, 0.1], quick=3)
def test_rms_norm_as_torch(torch, shape, eps):
    width = shape[-1:]

    def peer(x, scale):
        return torch.nn.functional.rms_norm(x, width, scale, eps)

    check(torch, lambda x, scale: ops.rms_norm(x, scale, eps), peer, *normals(shape, width))


@combinations("size, groups", [(5,), (4, 3), (2, 3, 2)], [1, 2, 6], quick=2)
def test_group_norm_as_torch(torch, size, groups):
    def peer(x, scale, offset):
        first = channels_first(x)
        return channels_last(
            torch.nn.functional.group_norm(first, groups, scale, offset, 1e-3)
        )

    def op(x, scale, offset):
        return ops.group_norm(x, scale, offset, groups, 1e-3)

    check(torch, op, peer, *normals((2, *size, 6), (6,), (6,)))


@pytest.mark.parametrize(
    "shape", [(7, 6), (2, 5, 6), (4, 3, 2, 6), (2, 2, 3, 2, 6)], ids=str
)
def test_batch_norm_as_torch(torch, shape):
    def peer(x, scale, offset):
        first = channels_first(x)
        norm = torch.nn.functional.batch_norm
        return channels_last(norm(first, None, None, scale, offset, True, 0.1, 1e-3))

    def op(x, scale, offset):
        return ops.batch_norm(x, scale, offset, 1e-3)[0]

    check(torch, op, peer, *normals(shape, (6,), (6,)))


def test_statistics_of_batch_norm_as_torch(torch):
    (x,) = normals((4, 3, 2, 6))
    _, mean, variance = ops.batch_norm(x, np.ones(6), np.zeros(6))
    their_mean, unbiased = torch.zeros(6).double(), torch.ones(6).double()
    first = channels_first(torch.tensor(x))
    torch.nn.functional.batch_norm(first, their_mean, unbiased, None, None, True, 1.0)
    np.testing.assert_allclose(mean, their_mean, rtol=1e-12)
    np.testing.assert_allclose(variance * 24 / 23, unbiased, rtol=1e-12)

    def peer(x):
        mean, variance = x.mean((0, 1, 2)), x.var((0, 1, 2), correction=0)
        return torch.stack([mean, variance])

    def op(x):
        return jax.numpy.stack(ops.batch_norm(x, np.ones(6), np.zeros(6))[1:])

    check(torch, op, peer, x)


ACTIVATIONS = {
    "relu": ((), "relu", {}),
    "leaky_relu": ((), "leaky_relu", {}),
    "leaky_relu, steep": ((0.3,), "leaky_relu", {"negative_slope": 0.3}),
    "elu": ((), "elu", {}),
    "elu, alpha": ((2.5,), "elu", {"alpha": 2.5}),
    "sigmoid": ((), "sigmoid", {}),
    "tanh": ((), "tanh", {}),
    "silu": ((), "silu", {}),
    "gelu": ((), "gelu", {"approximate": "tanh"}),
    "gelu, exact": ((False,), "gelu", {}),
    "softplus": ((), "softplus", {"threshold": 1e9}),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_as_torch(torch, name):
    constants, theirs, options = ACTIVATIONS[name]
    op, peer = getattr(ops, name.split(",")[0]), getattr(torch.nn.functional, theirs)
    (x,) = normals((6, 7))
    x *= 4
    x[0, :3] = 0.0, -0.0, 1e-9
    check(torch, lambda x: op(x, *constants), lambda x: peer(x, **options), x)


@pytest.mark.parametrize("name", ["silu", "gelu", "gelu, exact"])
def test_gates_as_torch(torch, name):
    constants, theirs, options = ACTIVATIONS[name]
    op = {"silu": ops.swiglu, "gelu": ops.geglu}[name.split(",")[0]]
    activation = getattr(torch.nn.functional, theirs)
    gate, value = normals((6, 7), (6, 7))
    check(
        torch,
        lambda gate, value: op(gate, value, *constants),
        lambda gate, value: activation(gate, **options) * value,
        4 * gate,
        value,
    )


@pytest.mark.parametrize("axis", [-1, 0, 1])
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmaxes_as_torch(torch, name, axis):
    (x,) = normals((3, 4, 5))
    op, peer = getattr(ops, name), getattr(torch.nn.functional, name)
    check(torch, lambda x: op(x, axis), lambda x: peer(x, axis), 5 * x)


@combinations(
    "kind, shape, smoothing",
    ["integers", "probabilities"],
    [(6, 5), (2, 3, 4)],
    [0.0, 0.1, 0.7],
    quick=5,
)
def test_softmax_cross_entropy_as_torch(torch, shape, smoothing, kind):
    """PyTorch takes the classes' axis second and can differentiate probabilities too."""
    (logits,) = normals(shape)
    rng = np.random.default_rng(3)

    def loss(logits, labels):
        if labels.ndim == logits.ndim:
            labels = channels_first(labels)
        return torch.nn.functional.cross_entropy(
            channels_first(logits),
            labels,
            reduction="none",
            label_smoothing=smoothing,
        )

    if kind == "integers":
        labels = rng.integers(0, shape[-1], shape[:-1])
        tensor = torch.tensor(labels)
        check(
            torch,
            lambda x: ops.softmax_cross_entropy(x, labels, smoothing),
            lambda x: loss(x, tensor),
            4 * logits,
        )
    else:
        labels = rng.dirichlet(np.ones(shape[-1]), shape[:-1])
        check(
            torch,
            lambda x, q: ops.softmax_cross_entropy(x, q, smoothing),
            loss,
            4 * logits,
            labels,
        )


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("lead", [(7,), (2, 4)], ids=str)
def test_linear_softmax_cross_entropy_as_torch(torch, lead, smoothing):
    labels = np.random.default_rng(3).integers(-1, 5, lead)
    labels.flat[:2] = 2, -1
    ids = torch.tensor(labels.ravel())

    def peer(x, weight, bias):
        logits = torch.nn.functional.linear(x, weight.T, bias).reshape(-1, 5)
        found = torch.nn.functional.cross_entropy(
            logits, ids, reduction="none", label_smoothing=smoothing, ignore_index=-1
        )
        return found.reshape(lead)

    def op(x, weight, bias):
        return ops.linear_softmax_cross_entropy(
            x, weight, labels, bias, smoothing, ignore=-1
        )

    check(torch, op, peer, *normals((*lead, 3), (3, 5), (5,)))


def check_jax(op, peer, *arrays):
    @jax.jit
    def both(arrays, dy):
        results = []
        for f in (op, peer):
            y, pullback = jax.vjp(f, *arrays)
            results.append((y, *pullback(dy)))
        return results

    dy = np.random.default_rng(1).standard_normal(jax.eval_shape(op, *arrays).shape)
    for ours, theirs in zip(*both(arrays, dy), strict=True):
        assert ours.dtype == np.float64
        np.testing.assert_allclose(ours, theirs, 1e-12, 1e-13)


@pytest.mark.parametrize("shape", [(5,), (7, 3), (2, 3, 4), (4, 2), (0, 3)], ids=str)
def test_integer_labels_as_optax(optax, shape):
    labels = np.random.default_rng(3).integers(0, shape[-1], shape[:-1])
    check_jax(
        lambda x: ops.softmax_cross_entropy(x, labels),
        lambda x: optax.losses.softmax_cross_entropy_with_integer_labels(x, labels),
        20 * normals(shape)[0],
    )


@pytest.mark.parametrize("masked", [False, True], ids=["finite", "masked"])
@pytest.mark.parametrize("shape", [(5,), (7, 3), (2, 3, 4), (0, 3)], ids=str)
def test_probabilities_as_optax(optax, shape, masked):
    """Also where a label of 0 meets a logit of -inf, which is to add nothing."""
    (logits,) = normals(shape)
    labels = np.random.default_rng(3).dirichlet(np.ones(shape[-1]), shape[:-1])
    if masked:
        logits[..., 0], labels[..., 0] = -np.inf, 0.0
    check_jax(
        lambda x: ops.softmax_cross_entropy(x, labels),
        lambda x: optax.losses.safe_softmax_cross_entropy(x, labels),
        logits,
    )


@pytest.mark.parametrize("smoothing", [0.1, 0.5])
def test_label_smoothing_as_optax(optax, smoothing):
    labels = np.random.default_rng(3).integers(0, 4, 6)

    def peer(x):
        q = optax.losses.smooth_labels(np.eye(4)[labels], smoothing)
        return optax.losses.softmax_cross_entropy(x, q)

    check_jax(
        lambda x: ops.softmax_cross_entropy(x, labels, smoothing),
        peer,
        normals((6, 4))[0],
    )


def test_squared_error_as_optax(optax):
    check_jax(ops.mse, optax.losses.squared_error, *normals((3, 4), (3, 4)))


@pytest.mark.parametrize("ids", [(), (7,), (2, 30), (0, 2)], ids=str)
def test_embed_as_torch(torch, ids):
    ids = np.asarray(np.random.default_rng(2).integers(0, 9, ids))

    def peer(table):
        return torch.nn.functional.embedding(torch.tensor(ids), table)

    check(torch, lambda table: ops.embed(table, ids), peer, *normals((9, 4)))
