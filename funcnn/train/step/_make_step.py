"""A loss and an optimizer come in; one training step goes out, a pure function."""

from collections.abc import Callable
from typing import Any

import jax

from funcnn import optim
from funcnn.foundation._checks import float_dtype, integer
from funcnn.foundation._dtypes import floats_as, upcast
from funcnn.train.step._first_nonfinite import first_nonfinite
from funcnn.train.step._loss_scale import loss_scale, unscaled
from funcnn.train.step._loss_value import split
from funcnn.train.step._microbatches import mean_over_microbatches
from funcnn.train.step._train_state import TrainState

Step = Callable[[TrainState, Any], tuple[TrainState, dict]]


def make_step(
    loss: Callable,
    optimizer: optim.Optimizer,
    *,
    microbatches: int = 1,
    compute_dtype: Any = None,
) -> Step:
    """Return the step that follows a loss downhill.

        step = jax.jit(train.make_step(loss, optimizer, microbatches=8), donate_argnums=0)
        state, metrics = step(state, (images, labels))

    With microbatches, a batch of `B` examples is cut into `n` of `B / n`, one after the
    other in a loop, and gradients are added up in at least float32: the gradient is that
    of the whole batch if the loss is a mean over examples, and activations take the memory
    of one microbatch. Microbatch `i` holds the examples `i`, `i + n`, `i + 2 n` and so on,
    so that a batch that is spread over devices stays where it is.

    With `compute_dtype="bfloat16"` or `"float16"`, the loss is given params and batch in
    that dtype, while the optimizer sees params and gradients in their own, float32 as a
    rule (Micikevicius et al., "Mixed precision training", 2018, arXiv:1710.03740). float16
    wants a `dynamic_loss_scale` too.

    Args:
        loss: `loss(params, batch, key) -> scalar`, or `(scalar, metrics)` with a dict of
            anything else worth recording. `key` is the step's own,
            `fold_in(state.key, state.step)`; with several microbatches, number `i` is
            given `fold_in` of that and `i`.
        optimizer: ours, or one of optax's. If it is a `dynamic_loss_scale`, that has to be
            outermost.
        microbatches: how many to cut a batch into; divides the length of the first axis of
            each of its arrays.
        compute_dtype: what floating-point arrays in params and batch are cast to for the
            loss; None leaves them as they are.

    Returns:
        A pure `step(state, batch) -> (state, metrics)`, for the caller to jit. `metrics`
        holds the `loss` and the gradient's global norm `grad_norm`, both as they were
        before the update, in at least float32 and without any scale, and the loss's own
        metrics: of several microbatches their mean, in at least float32.

    Raises:
        TypeError: if `microbatches` is not an integer, or `compute_dtype` not
            floating-point; in the step, if the loss is not a floating-point number, or its
            metrics are not a dict.
        ValueError: if `microbatches` is less than 1; in the step, if it does not divide an
            array of the batch, the loss is not a scalar, or one of its metrics is called
            `loss` or `grad_norm`.
    """
    microbatches = integer("make_step", "microbatches", microbatches, minimum=1)
    if compute_dtype is not None:
        compute_dtype = float_dtype("make_step", "a compute_dtype", compute_dtype)

    def scaled_loss(params, batch, key, scale):
        if compute_dtype is not None:
            params, batch = floats_as((params, batch), compute_dtype)
        value, metrics = split(loss(params, batch, key))
        value = upcast(value)
        scaled = value if scale is None else value * scale.astype(value.dtype)
        return scaled, (value, metrics)

    gradient = jax.grad(scaled_loss, has_aux=True)
    if microbatches > 1:
        gradient = mean_over_microbatches(gradient, microbatches)

    def step(state, batch):
        key = jax.random.fold_in(state.key, state.step)
        scale = loss_scale(state.opt_state)
        grads, (value, metrics) = gradient(state.params, batch, key, scale)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optim.apply_updates(state.params, updates)
        norm = optim.global_norm(grads if scale is None else unscaled(grads, scale))
        metrics = {"loss": value, "grad_norm": norm, **metrics}
        return TrainState(state.step + 1, params, opt_state, state.key), metrics

    def locate(state, batch):
        key = jax.random.fold_in(state.key, state.step)
        return first_nonfinite(loss, state.params, batch, key, compute_dtype=compute_dtype)

    step.locate = locate  # type: ignore[attr-defined]  # for `fit` to say what went wrong
    return step
