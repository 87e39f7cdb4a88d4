"""Recurrent networks: states are carried, and cotangents of states carried back."""

import jax
import jax.numpy as jnp

from ..entry import Entry, normals, pullback_of, rule

scan, stop = jax.lax.scan, jax.lax.stop_gradient


def rnn_of(through):
    """A tanh network; `through` acts on each state before the next step sees it."""

    def rnn(xs, h, w, u):
        def step(h, x):
            h = jnp.tanh(x @ w + through(h) @ u)
            return h, h

        return scan(step, h, xs)[1]

    return rnn


rnn = rnn_of(lambda h: h)


def initial_state_constant(r, dy):
    dxs, dh, dw, du = pullback_of(rnn)(r, dy)
    return dxs, jnp.zeros_like(dh), dw, du


def backward_through_time(xs, h, w, u, dys, late=0, last_only=False):
    """Right, but for `late`: by how many steps the slopes come from too late a state."""
    hs = rnn(xs, h, w, u)
    before = jnp.concatenate([h[None], hs[:-1]])
    slopes = jnp.roll(1 - hs**2, -late, axis=0)

    def step(dh, now):
        dy, slope = now
        da = (dh + dy) * slope
        return da @ u.T, da

    dh, das = scan(step, jnp.zeros_like(h), (dys, slopes), reverse=True)
    dw = xs[-1:].T @ das[-1:] if last_only else xs.T @ das
    return das @ w.T, dh, dw, before.T @ das


def slopes_of_the_next_step(r, dys):
    return backward_through_time(*r, dys, late=1)


def weight_of_the_last_step(r, dys):
    return backward_through_time(*r, dys, last_only=True)


def lstm_of(forget, reads=lambda h: h):
    """Gates from the input and the state; the outputs are the last state and cell."""

    def lstm(xs, h, c, w, u):
        def step(carry, x):
            h, c = carry
            i, f, o, g = jnp.split(x @ w + reads(h) @ u, 4)
            f = forget(jax.nn.sigmoid(f))
            c = f * c + jax.nn.sigmoid(i) * jnp.tanh(g)
            return (jax.nn.sigmoid(o) * jnp.tanh(c), c), None

        return scan(step, (h, c), xs)[0]

    return lstm


lstm = lstm_of(lambda f: f)


def cell_cotangent_ignored(r, dys):
    dh, dc = dys
    return pullback_of(lstm)(r, (dh, jnp.zeros_like(dc)))


def gru_of(reset, keep):
    def gru(xs, h, w, u):
        def step(h, x):
            r, z, n = jnp.split(x @ w, 3)
            a, b, c = jnp.split(h @ u, 3)
            z = jax.nn.sigmoid(z + b)
            n = jnp.tanh(n + reset(jax.nn.sigmoid(r + a)) * c)
            return (1 - z) * n + keep(z * h, z, h), None

        return scan(step, h, xs)[0]

    return gru


gru = gru_of(lambda r: r, lambda zh, z, h: zh)


def both_ways(xs, h, w, u):
    there, back = rnn(xs, h, w, u), rnn(xs[::-1], h, w, u)[::-1]
    return jnp.concatenate([there, back], axis=-1)


def way_back_not_reversed(r, dys):
    xs, h, w, u = r
    there, back = jnp.split(dys, 2, axis=-1)
    first = pullback_of(rnn)(r, there)
    second = list(pullback_of(rnn)((xs[::-1], h, w, u), back))
    second[0] = second[0][::-1]
    return tuple(a + b for a, b in zip(first, second, strict=True))


def masked_rnn(xs, h, w, u, length):
    return rnn(xs, h, w, u)[length - 1]


def last_element_for_all(r, dy):
    xs, h, w, u, _ = r
    *dargs, _ = pullback_of(masked_rnn)((xs, h, w, u, len(xs)), dy)
    return *dargs, None


RNN = normals((4, 3), (3,), (3, 3), (3, 3))


LSTM = normals((4, 3), (2,), (2,), (3, 8), (2, 8))


GRU = normals((4, 3), (2,), (3, 6), (2, 6))


def entry(name, note, bwd, args, reference):
    return Entry(name, note, rule(reference, bwd), args, reference)


ENTRIES = [
    entry(
        "rnn_truncated_to_one_step",
        "no cotangent goes from a state to the one before",
        pullback_of(rnn_of(stop)),
        RNN,
        rnn,
    ),
    entry(
        "rnn_initial_state_constant",
        "the initial state's cotangent is 0",
        initial_state_constant,
        RNN,
        rnn,
    ),
    entry(
        "rnn_slopes_one_step_late",
        "each step takes the next state's slope",
        slopes_of_the_next_step,
        RNN,
        rnn,
    ),
    entry(
        "rnn_weight_of_the_last_step",
        "one weight's cotangent is not summed over time",
        weight_of_the_last_step,
        RNN,
        rnn,
    ),
    entry(
        "lstm_forget_gate_constant",
        "the forget gate is taken to be a constant",
        pullback_of(lstm_of(stop)),
        LSTM,
        lstm,
    ),
    entry(
        "lstm_hidden_state_not_carried_back",
        "only the cell carries cotangents from step to step",
        pullback_of(lstm_of(lambda f: f, stop)),
        LSTM,
        lstm,
    ),
    entry(
        "lstm_last_cell_ignored",
        "of two outputs, the cell's cotangent is ignored",
        cell_cotangent_ignored,
        LSTM,
        lstm,
    ),
    entry(
        "gru_reset_gate_constant",
        "the reset gate is taken to be a constant",
        pullback_of(gru_of(stop, lambda zh, z, h: zh)),
        GRU,
        gru,
    ),
    entry(
        "gru_kept_state_constant",
        "the share of the old state that is kept carries nothing back",
        pullback_of(gru_of(lambda r: r, lambda zh, z, h: z * stop(h))),
        GRU,
        gru,
    ),
    entry(
        "bidirectional_way_back_not_reversed",
        "the cotangent of the way back is not reversed in time",
        way_back_not_reversed,
        RNN,
        both_ways,
    ),
    entry(
        "rnn_length_forgotten",
        "the cotangent of the state at a given length enters at the last step",
        last_element_for_all,
        lambda rng: (*RNN(rng), 2),
        masked_rnn,
    ),
]
