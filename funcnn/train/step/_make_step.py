"""A loss and an optimizer come in; one training step goes out, a pure function."""

from collections.abc import Callable, Sequence
from typing import Any

import jax

from funcnn import optim
from funcnn.foundation._checks import integer
from funcnn.foundation._dtypes import upcast
from funcnn.optim.protocol._optimizer import extended
from funcnn.train.step._cast_inputs import Casts
from funcnn.train.step._first_nonfinite import first_nonfinite
from funcnn.train.step._learning_rate import learning_rate
from funcnn.train.step._loss_scale import loss_scale, unscaled
from funcnn.train.step._loss_value import divided, split
from funcnn.train.step._microbatches import mean_over_microbatches
from funcnn.train.step._train_state import TrainState, blame_state, check_state

Step = Callable[[TrainState, Any], tuple[TrainState, dict]]


def make_step(
    loss: Callable,
    optimizer: optim.Optimizer,
    *,
    microbatches: int = 1,
    compute_dtype: Any = None,
    keep: str | Sequence[str] = (),
) -> Step:
    """Return the step that follows a loss downhill.

        step = jax.jit(train.make_step(loss, optimizer, microbatches=8), donate_argnums=0)
        state, metrics = step(state, (images, labels))

    With microbatches, a batch of `B` examples is cut into `n` of `B / n`, one after the
    other in a loop, and gradients are added up in at least float32: the gradient is that of
    the whole batch if the loss is a mean over examples, or a `losses.Average` where not all
    of them count alike, and activations take the memory of one microbatch. Microbatch `i`
    holds the examples `i`, `i + n`, `i + 2 n` and so on, so that a batch that is spread
    over devices stays where it is.

    With `compute_dtype="bfloat16"` or `"float16"`, the loss is given params and batch in
    that dtype, but for what `keep` names, such as targets that 16 bits would round or
    overflow: `keep="y"` for `{"x": images, "y": prices}`, `keep="1"` for a pair. The
    optimizer sees params and gradients in their own, float32 as a rule (Micikevicius et
    al., "Mixed precision training", 2018, arXiv:1710.03740). float16 wants a
    `dynamic_loss_scale` too.

    Args:
        loss: `loss(params, batch, key) -> scalar`, or `(scalar, metrics)` with a dict of
            anything else worth recording. In place of the scalar it may return a
            `losses.Average`, and so may any of the metrics be one: then microbatches, and
            steps in `optim.accumulate`, weigh as much as they count. `key` is the step's
            own, `fold_in(state.key, state.step)`; with several microbatches, number `i` is
            given `fold_in` of that and `i`.
        optimizer: ours, or one of optax's. If it is a `dynamic_loss_scale`, that has to be
            outermost.
        microbatches: how many to cut a batch into; divides the length of the first axis of
            each of its arrays.
        compute_dtype: what floating-point arrays in params and batch are cast to for the
            loss; None leaves them as they are.
        keep: patterns of the paths in the batch, as in `shard`, of what is not cast.

    Returns:
        A pure `step(state, batch) -> (state, metrics)`, for the caller to jit. `metrics`
        holds the `loss` and the gradient's global norm `grad_norm`, both as they were
        before the update, in at least float32 and without any scale; the `learning_rate`
        of the update, where the optimizer tells it, as ours do and optax's
        `inject_hyperparams`; and the loss's own metrics: of several microbatches their
        mean, in at least float32.

        The optimizer's `update` is given, as far as it takes them, `value` and `grad` of
        the loss and `value_fn`, of params, as `sophia` and optax's `lbfgs` and
        `contrib.reduce_on_plateau` want, and the `count` of an `Average`.

    Raises:
        TypeError: if `microbatches` is not an integer, `compute_dtype` not floating-point,
            or `keep` has what is no string; in the step, if the loss is not a
            floating-point number, or its metrics are not a dict.
        ValueError: if `microbatches` is less than 1; in the step, if it does not divide an
            array of the batch, `keep` matches nothing, the loss is not a scalar, or one of
            its metrics is called `loss` or `grad_norm`.
    """
    microbatches = integer("make_step", "microbatches", microbatches, minimum=1)
    casts = Casts("make_step", compute_dtype, keep)
    update = extended("make_step", optimizer)

    def scaled_loss(params, batch, key, scale):
        value, metrics, count = split(loss(casts.params(params), casts.batch(batch), key))
        value = upcast(value)
        scaled = value if scale is None else value * scale.astype(value.dtype)
        return scaled, (value, metrics, count)

    def without_gradient(*arguments):
        return (), scaled_loss(*arguments)[1]

    gradient = jax.grad(scaled_loss, has_aux=True)
    if microbatches > 1:
        gradient = mean_over_microbatches(gradient, microbatches)
        without_gradient = mean_over_microbatches(without_gradient, microbatches)

    def step(state, batch):
        check_state("make_step", state)
        key = jax.random.fold_in(state.key, state.step)
        scale = loss_scale(state.opt_state)
        grads, (value, metrics, count) = gradient(state.params, batch, key, scale)
        plain = grads if scale is None else unscaled(grads, scale)

        def value_fn(params, count=None):  # as what it is not told, optax's search refuses
            del count
            return without_gradient(params, batch, key, None)[1][0]

        extra = {"value": value, "grad": plain, "value_fn": value_fn}
        extra |= {} if count is None else {"count": count}
        try:
            updates, opt_state = update(grads, state.opt_state, state.params, **extra)
        except Exception as error:
            blame_state("make_step", optimizer, state, error)
            raise
        params = optim.apply_updates(state.params, updates)
        own = {"loss": value, "grad_norm": optim.global_norm(plain)}
        rate = learning_rate(optimizer, state.opt_state, opt_state)
        own |= {} if rate is None else {"learning_rate": rate}
        after = TrainState(state.step + 1, params, opt_state, state.key)
        return after, own | divided(metrics)

    def locate(state, batch):
        key = jax.random.fold_in(state.key, state.step)
        return first_nonfinite(
            loss, state.params, batch, key, compute_dtype=compute_dtype, keep=keep
        )

    step.locate = locate  # type: ignore[attr-defined]  # for `fit` to say what went wrong
    return step
