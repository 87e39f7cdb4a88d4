"""What a method keeps of each leaf: rows of slots in, trees in a state out, and back.

A row holds the slots of one leaf, as they are stored; a column one slot of all leaves.
"""

import jax

from funcnn.optim.leafwise._rule import Method
from funcnn.optim.precision._moments import like_stored, load, packed, store
from funcnn.optim.protocol._leaves import zeros
from funcnn.optim.protocol._trees import check_own, match, shape_of


def first_row(m: Method, i, w, step):
    """The slots of leaf i before the first update."""
    new = m.start(w) if m.start else [zeros(w) for _ in m.slots]
    return stored_row(m, i, new, [a.dtype for a in new], step)


def stored_row(m: Method, i, new, dtypes, step):
    """The slots of leaf i as they are stored."""
    salts = range(i * len(m.slots), (i + 1) * len(m.slots))
    each = zip(new, dtypes, salts, strict=True)
    return [store(a, m.moments, dtype, step, salt) for a, dtype, salt in each]


def pack(m: Method, step, tree, rows):
    """The state of the rows of all leaves."""
    trees = dict(zip(m.slots, map(tree.unflatten, columns(m, rows)), strict=True))
    return m.state(step, *(trees.get(name) for name in m.state._fields[1:]))


def unpack(m: Method, state, tree):
    """The row of each leaf of a state that `check_slots` has seen."""
    if not m.slots:
        return [()] * tree.num_leaves
    found = [tree.flatten_up_to(getattr(state, name)) for name in m.slots]
    return list(zip(*found, strict=True))


def check_slots(m: Method, state, tree, leaves):
    """Check that a state is of this method, and of params like these gradients.

    Raises:
        TypeError: if it is of another method.
        ValueError: if it is of other params.
    """
    check_own(m.name, state, m.state)
    needed = columns(m, [needed_row(m, g) for g in leaves])
    for name, column in zip(m.slots, needed, strict=True):
        whole = [shape_of(a) for a in column] == [g.shape for g in leaves]
        what = "gradients" if whole else "what it keeps of gradients"
        called = "momentum" if name == "momentum" else "moments"
        kept = packed(getattr(state, name))
        match(m.name, what, tree.unflatten(column), kept, f"the {called} in its state")


def needed_row(m: Method, g):
    """What has the shapes of the slots of a leaf like `g`, as they are stored."""
    new = jax.eval_shape(m.start, g) if m.start else [g] * len(m.slots)
    return [like_stored(a, m.moments) for a in new]


def columns(m: Method, rows):
    """One list a slot, also if there are no leaves."""
    return list(zip(*rows, strict=True)) or [()] * len(m.slots)


class Keeper:
    """What a rule passes its new slots through, to have them as they are stored.

    It stores them where rounding is by chance, and holds the row then: a step reads
    the new state alone, and XLA needs no copy of the old one; rounding is without bias,
    and later steps see it anyway.
    """

    def __init__(self, by_chance, row_of, shape, dtype):
        self.by_chance, self.row_of = by_chance, row_of
        self.shape, self.dtype = shape, dtype

    def __call__(self, *new):
        if not self.by_chance:
            return new
        self.row = self.row_of(new)
        return [load(a, self.shape).astype(self.dtype) for a in self.row]
