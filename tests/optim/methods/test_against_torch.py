"""Optimizers against PyTorch's, step for step in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnn import optim

torch = pytest.importorskip("torch")

SHAPES = {"stem": {"weight": (3, 4), "bias": (4,)}, "head": (2, 1, 3)}
DECAY = 0.1
FEW, MANY = 10, 500


def draw(rng):
    return jax.tree.map(rng.standard_normal, SHAPES, is_leaf=lambda a: isinstance(a, tuple))


def run(optimizer, steps=FEW):
    """Operation by operation, or compiled if there are many steps."""
    rng = np.random.default_rng(0)
    params = draw(rng)
    state = optimizer.init(params)
    update = optimizer.update if steps == FEW else jax.jit(optimizer.update)
    trajectory = []
    for _ in range(steps):
        updates, state = update(draw(rng), state, params)
        params = optim.apply_updates(params, updates)
        trajectory.append(jax.tree.leaves(params))
    return trajectory


def run_torch(make, limit=None, steps=FEW):
    rng = np.random.default_rng(0)
    params = [torch.tensor(a) for a in jax.tree.leaves(draw(rng))]
    optimizer = make(params)
    trajectory = []
    for _ in range(steps):
        for p, g in zip(params, jax.tree.leaves(draw(rng)), strict=True):
            p.grad = torch.tensor(g)
        if limit is not None:
            clip(params, limit)
        optimizer.step()
        trajectory.append([p.numpy().copy() for p in params])
    return trajectory


def clip(params, limit):
    """PyTorch multiplies by limit / (norm + 1e-6): make up for the 1e-6."""
    norm = torch.nn.utils.get_total_norm([p.grad for p in params])
    torch.nn.utils.clip_grad_norm_(params, limit * (norm + 1e-6) / norm)


def l2(optimizer):
    return optim.chain(optim.add_decayed_weights(DECAY), optimizer)


def sgd(**arguments):
    return lambda params: torch.optim.SGD(params, lr=0.1, **arguments)


def adam(**arguments):
    return lambda params: torch.optim.Adam(params, lr=0.1, **arguments)


def adamw(**arguments):
    return lambda params: torch.optim.AdamW(params, lr=0.1, **arguments)


def rmsprop(**arguments):
    return lambda params: torch.optim.RMSprop(params, lr=0.1, **arguments)


def adagrad(**arguments):
    return lambda params: torch.optim.Adagrad(params, lr=0.1, **arguments)


PAIRS = {
    "sgd": (optim.sgd(0.1), sgd()),
    "momentum": (optim.sgd(0.1, 0.9), sgd(momentum=0.9)),
    "nesterov": (optim.sgd(0.1, 0.9, True), sgd(momentum=0.9, nesterov=True)),
    "sgd with L2": (l2(optim.sgd(0.1)), sgd(weight_decay=DECAY)),
    "nesterov with L2": (
        l2(optim.sgd(0.1, 0.9, True)),
        sgd(momentum=0.9, nesterov=True, weight_decay=DECAY),
    ),
    "adam": (optim.adam(0.1), adam()),
    "adam, all arguments": (
        optim.adam(0.1, 0.8, 0.99, 1e-3),
        adam(betas=(0.8, 0.99), eps=1e-3),
    ),
    "adam with L2": (l2(optim.adam(0.1)), adam(weight_decay=DECAY)),
    "adamw": (optim.adamw(0.1, weight_decay=DECAY), adamw(weight_decay=DECAY)),
    "rmsprop": (
        optim.rmsprop(0.1, 0.99, momentum=0.9, eps_in_sqrt=False),
        rmsprop(momentum=0.9),
    ),
    "rmsprop, centred": (
        optim.rmsprop(0.1, 0.99, 1e-3, True, eps_in_sqrt=False),
        rmsprop(centered=True, eps=1e-3),
    ),
    "adagrad": (optim.adagrad(0.1, 0.0, 0.0), adagrad(eps=0.0)),
    "adadelta": (optim.adadelta(), lambda params: torch.optim.Adadelta(params)),
    # eps is 0 where PyTorch adds it elsewhere
    "radam": (
        optim.radam(0.1, eps=0.0),
        lambda params: torch.optim.RAdam(params, lr=0.1, eps=0.0),
    ),
    "radam, weights decay": (
        optim.radam(0.1, eps=0.0, weight_decay=DECAY),
        lambda params: torch.optim.RAdam(
            params, lr=0.1, eps=0.0, weight_decay=DECAY, decoupled_weight_decay=True
        ),
    ),
    "adamax": (optim.adamax(0.1), lambda params: torch.optim.Adamax(params, lr=0.1)),
}


def shrinking(step):
    return jnp.minimum(0.1, 1.0 / jnp.sqrt(step.astype(float) + 1.0))


@pytest.mark.parametrize("steps", [FEW, pytest.param(MANY, marks=pytest.mark.exhaustive)])
def test_adafactor_equals_torch_step_for_step(monkeypatch, steps):
    """PyTorch's rate shrinks by itself, it adds no eps, and factors the last two axes."""
    monkeypatch.setitem(SHAPES, "head", (5, 3))
    ours = optim.adafactor(shrinking, eps=0.0, least_size=1)
    least = (1e-200, 1e-3)
    want = run_torch(
        lambda params: torch.optim.Adafactor(params, lr=0.1, eps=least), steps=steps
    )
    assert_close(run(ours, steps), want)
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        assert_close(run(optim.adafactor(shrinking, eps=0.0), steps), want)  # none factored


def assert_close(got, want):
    for g, w in zip(got, want, strict=True):
        for a, b in zip(g, w, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13)


many = pytest.param(MANY, marks=pytest.mark.exhaustive)
each = pytest.mark.parametrize("ours, theirs", PAIRS.values(), ids=PAIRS)


@each
@pytest.mark.parametrize("steps", [FEW, many])
def test_equals_torch_step_for_step(ours, theirs, steps):
    assert_close(run(ours, steps), run_torch(theirs, steps=steps))


@each
@pytest.mark.parametrize("steps", [FEW, many])
def test_clipped_equals_torch_step_for_step(ours, theirs, steps):
    """Norms here are about 4.3: some steps are clipped, others are not."""
    clipped = optim.chain(optim.clip_by_global_norm(4.5), ours)
    assert_close(run(clipped, steps), run_torch(theirs, limit=4.5, steps=steps))


def test_some_steps_are_clipped_and_others_are_not():
    rng = np.random.default_rng(0)
    norms = [float(optim.global_norm(draw(rng))) for _ in range(FEW + 1)][1:]
    assert min(norms) < 4.5 < max(norms)


def test_the_comparison_catches_a_planted_fault():
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        assert_close(run(optim.adam(0.1, eps=1.0001e-8)), run_torch(adam()))
