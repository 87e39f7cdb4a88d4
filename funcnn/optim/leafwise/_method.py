"""What methods have in common: the rule for one leaf makes an optimizer."""

import functools
import math

import jax
import jax.numpy as jnp

from funcnn.optim.precision._memory import (
    check_moments,
    like_stored,
    load,
    packed,
    rounded_by_chance,
    store,
)
from funcnn.optim.protocol._optimizer import Optimizer
from funcnn.optim.protocol._rates import (
    check_learning_rate,
    hyperparameter,
    learning_rate_at,
)
from funcnn.optim.protocol._trees import (
    caster,
    checked,
    flatten,
    float_leaves,
    match,
    need_params,
    shape_of,
    spread,
    widest,
    zeros,
)

UNSCALED = object()  # in place of a learning rate, where there is none


def method(
    name,
    state,
    rule,
    scalars=lambda t: (),
    learning_rate=UNSCALED,
    *,
    slots=None,
    start=None,
    weights=None,
    weight_decay=None,
    mask=None,
    moments=None,
    decays=False,
    rated=False,
    keeps=False,
):
    """Make an optimizer of a rule for one leaf.

    Args:
        name: what errors call it.
        state: a NamedTuple class: `step`, then the slots, each a pytree like params.
        rule: `rule(g, *slots, *scalars) -> (direction, *slots)`, all of one dtype, which
            is at least float32.
        scalars: `scalars(t)`, what the rule needs of the update t = 1, 2, ...
        learning_rate: the update is `-learning_rate * direction`; of `UNSCALED`, the
            direction.
        slots: the names of those that there are, None for all; others are None.
        start: `start(w)`, the slots of a new leaf; None for zeros like it.
        weights: why the rule needs the weights ("..."), which then come after `g`.
        weight_decay: if not None, the direction is `direction + weight_decay * w`.
        mask: which leaves decay, as in `spread`; None for all.
        decays: the rule takes the weight decay, after its scalars, as a number that is 0
            where the mask is not, and its direction holds it.
        moments: what slots are stored as; see `check_moments`.
        rated: the rule takes the learning rate, last, and its direction holds it.
        keeps: the rule makes its direction of the new slots, after it passed them through
            `keep(*slots)`, which it takes by name: what is rounded by chance comes back
            as it is stored. A step then reads the new state alone, and XLA needs no copy
            of the old one; rounding is without bias, and later steps see it anyway.
    """
    names = state._fields[1:] if slots is None else slots
    if learning_rate is not UNSCALED:
        check_learning_rate(name, learning_rate)
    if weight_decay is not None:
        hyperparameter(name, "weight_decay", weight_decay, below=math.inf)
    check_moments(name, moments)
    reason = weights or (None if weight_decay is None else "its weights decay")
    by_chance = keeps and moments is not None and rounded_by_chance(moments)

    def pack(step, tree, rows):
        """The state of rows of slots, one row a leaf."""
        columns = list(zip(*rows, strict=True)) or [()] * len(names)
        trees = dict(zip(names, map(tree.unflatten, columns), strict=True))
        return state(step, *(trees.get(n) for n in state._fields[1:]))

    def init(params):
        leaves, tree = flatten(float_leaves(name, "params", params))
        step = jnp.zeros((), jnp.int32)
        rows = []
        for i, w in enumerate(leaves):
            new = start(w) if start else [zeros(w) for _ in names]
            rows.append(kept(i, new, [a.dtype for a in new], step))
        return pack(step, tree, rows)

    def kept(i, new, dtypes, step):
        """The slots of leaf i as they are stored."""
        salts = range(i * len(names), (i + 1) * len(names))
        each = zip(new, dtypes, salts, strict=True)
        return [store(a, moments, dtype, step, salt) for a, dtype, salt in each]

    def spec(a):
        """What has the shapes of the slots of a leaf like `a`, as they are stored."""
        new = jax.eval_shape(start, a) if start else [a] * len(names)
        return [like_stored(b, moments) for b in new]

    def update(grads, before, params=None):
        if reason:
            need_params(name, params, reason)
        grads = checked(name, grads, params)
        leaves, tree = flatten(grads)
        columns = [getattr(before, n) for n in names]
        needed = list(zip(*map(spec, leaves), strict=True)) or [()] * len(names)
        for n, column, likes in zip(names, columns, needed, strict=True):
            whole = [shape_of(a) for a in likes] == [g.shape for g in leaves]
            what = "gradients" if whole else "what it keeps of gradients"
            likes, model = tree.unflatten(likes), f"the {called(n)} in its state"
            match(name, what, likes, packed(column), model)
        stored = list(zip(*map(tree.flatten_up_to, columns), strict=True))
        ws = tree.flatten_up_to(params) if reason else [None] * len(leaves)
        decayed = [weight_decay is not None] * len(leaves)
        if weight_decay is not None and mask is not None:
            decayed = spread(name, "a mask", mask, params)
        rate = 1.0
        if learning_rate is not UNSCALED:
            rate = learning_rate_at(name, learning_rate, before.step)
        step = before.step + 1
        numbers = caster(
            (*scalars(step), rate, 0.0 if weight_decay is None else weight_decay)
        )
        updates, rows = [], []
        for i, (g, w) in enumerate(zip(leaves, ws, strict=True)):
            old = [load(a, g.shape) for a in stored[i]] if names else []
            arrays = [g, *([jnp.asarray(w)] if reason else []), *old]
            dtype = widest(arrays)
            *own, eta, decay = numbers(dtype)
            arrays = [a.astype(dtype) for a in arrays]
            w = arrays.pop(1) if reason else None
            given = (w,) if weights else ()
            last = [decay if decayed[i] else jnp.zeros_like(decay)] if decays else []
            last += [eta] if rated else []
            row = functools.partial(kept, i, dtypes=[a.dtype for a in old], step=step)
            more = {}
            if keeps:
                more["keep"] = Keeper(row, g.shape, dtype, by_chance)
            direction, *new = rule(arrays[0], *given, *arrays[1:], *own, *last, **more)
            rows.append(more["keep"].row if by_chance else row(new))
            if decayed[i] and not decays:
                direction = direction + decay * w
            if learning_rate is not UNSCALED:
                direction = -direction if rated else -eta * direction
            updates.append(direction.astype(g.dtype))
        return tree.unflatten(updates), pack(step, tree, rows)

    return Optimizer(init, update)


def decoupled(weight_decay, mask):
    """Arguments of `method` for weights that may decay: none for a Python 0."""
    if isinstance(weight_decay, int | float) and weight_decay == 0:
        return {}
    return {"weight_decay": weight_decay, "mask": mask}


class Keeper:
    """What a rule passes its new slots through: it stores them, if that is by chance."""

    def __init__(self, store, shape, dtype, by_chance):
        self.store, self.shape, self.dtype = store, shape, dtype
        self.by_chance = by_chance

    def __call__(self, *new):
        if not self.by_chance:
            return new
        self.row = self.store(new)
        return [load(a, self.shape).astype(self.dtype) for a in self.row]


def called(slot):
    """What an error calls a slot."""
    return "momentum" if slot == "momentum" else "moments"
