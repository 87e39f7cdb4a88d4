"""Arrays moved, picked, joined and sorted; trees of them."""

import jax
import jax.numpy as jnp
import numpy as np

from ..entry import Entry, normals, pullback_of, rule


def embed(table, ids):
    return table[ids]


def duplicates_overwritten(r, dy):
    table, ids = r
    return jnp.zeros_like(table).at[ids].set(dy), None


def negatives_clipped(r, dy):
    table, ids = r
    return jnp.zeros_like(table).at[jnp.maximum(ids, 0)].add(dy), None


def scatter_add(x, ids, updates):
    return jnp.asarray(x).at[ids].add(updates)


def written_rows_cleared(r, dy):
    _, ids, _ = r
    return dy.at[ids].set(0), None, dy[ids]


def scatter_set(x, ids, updates):
    return jnp.asarray(x).at[ids].set(updates)


def written_rows_kept(r, dy):
    return dy, None, dy[r[1]]


def sort(x):
    return x[jnp.argsort(x)]


def sorted_again(r, dy):
    return (dy[jnp.argsort(r[0])],)


def join(a, b):
    return jnp.concatenate([a, b], axis=-1)


def parts_in_reverse(r, dy):
    width = r[1].shape[-1]
    return dy[:, width:], dy[:, :width]


def turn(x):
    return x.transpose(2, 0, 1)


def turned_again(r, dy):
    return (dy.transpose(2, 0, 1),)


def pad(x):
    return jnp.pad(x, [(0, 0), (1, 2)])


def cut_on_the_other_side(r, dy):
    return (dy[:, 2:-1],)


def choose(mask, x, y):
    return jnp.where(mask, x, y)


def other_branch_not_masked(r, dy):
    return None, jnp.where(r[0], dy, 0), dy


def roll(x):
    return jnp.roll(x, 2)


def rolled_again(r, dy):
    return (jnp.roll(dy, 2),)


def top(x):
    return jax.lax.top_k(x, 3)[0]


def at_the_front(r, dy):
    return (jnp.zeros_like(r[0]).at[:3].set(dy),)


def two_layers(params, x):
    hidden = jnp.tanh(x @ params["first"])
    return hidden @ params["second"]


def leaves_swapped(r, dy):
    dparams, dx = pullback_of(two_layers)(r, dy)
    return {"first": dparams["second"], "second": dparams["first"]}, dx


def two_layer_args(rng):
    first, second, x = rng.standard_normal((3, 3, 3), np.float32)
    return {"first": first, "second": second}, x


def split(x):
    return tuple(jnp.split(x, 3))


def part_used_twice(r, dys):
    return (jnp.concatenate([dys[0], dys[1], dys[1]]),)


def repeated_ids(rng):
    return rng.standard_normal((5, 3), np.float32), rng.permutation([0, 2, 2, 4, 2])


def negative_ids(rng):
    return rng.standard_normal((5, 3), np.float32), rng.permutation([0, -1, 2, -2])


def rows_to_write(rng):
    x, updates = rng.standard_normal((5, 2)), rng.standard_normal((2, 2))
    return x, rng.permutation(5)[:2], updates


def masked(rng):
    x, y = rng.standard_normal((2, 3, 4), np.float32)
    return rng.permutation(np.arange(12) % 2 == 0).reshape(3, 4), x, y


def entry(name, note, primal, bwd, args, known=True):
    return Entry(name, note, rule(primal, bwd), args, primal if known else None)


ENTRIES = [
    entry(
        "embedding_duplicates_overwritten",
        "a row looked up twice gets one of the two cotangents",
        embed,
        duplicates_overwritten,
        repeated_ids,
    ),
    entry(
        "embedding_negative_ids_clipped",
        "ids counted from the end go to the first row",
        embed,
        negatives_clipped,
        negative_ids,
    ),
    entry(
        "scatter_add_clears_what_is_kept",
        "rows that are added to lose their cotangent, as if overwritten",
        scatter_add,
        written_rows_cleared,
        rows_to_write,
    ),
    entry(
        "scatter_set_keeps_what_is_cleared",
        "rows that are overwritten keep their cotangent",
        scatter_set,
        written_rows_kept,
        rows_to_write,
    ),
    entry(
        "sort_permuted_again",
        "the cotangent is sorted, not put back: the same for a swap",
        sort,
        sorted_again,
        lambda rng: (np.roll(np.sort(rng.standard_normal(7, np.float32)), 2),),
    ),
    entry(
        "concatenate_parts_in_reverse",
        "the first operand's cotangent is cut from the end",
        join,
        parts_in_reverse,
        normals((2, 3), (2, 4)),
    ),
    entry(
        "transpose_not_inverted",
        "a cycle of three axes is applied again: right in shape for a cube",
        turn,
        turned_again,
        normals((3, 3, 3)),
    ),
    entry(
        "pad_cut_on_the_other_side",
        "as many elements are cut off in front as were put behind",
        pad,
        cut_on_the_other_side,
        normals((2, 4)),
    ),
    entry(
        "where_other_branch_not_masked",
        "the second branch gets the whole cotangent",
        choose,
        other_branch_not_masked,
        masked,
    ),
    entry(
        "roll_in_the_same_direction",
        "the cotangent is rolled on, not back",
        roll,
        rolled_again,
        normals((5,)),
        known=False,
    ),
    entry(
        "top_k_at_the_front",
        "the cotangent goes to the first k elements",
        top,
        at_the_front,
        lambda rng: (np.sort(rng.standard_normal(6, np.float32)),),
    ),
    entry(
        "tree_leaves_swapped",
        "two leaves of equal shape have each other's cotangent",
        two_layers,
        leaves_swapped,
        two_layer_args,
    ),
    entry(
        "split_part_used_twice",
        "the third output's cotangent is ignored for the second's",
        split,
        part_used_twice,
        normals((6,)),
    ),
]
