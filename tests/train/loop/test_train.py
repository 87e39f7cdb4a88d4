"""The step, the loop around it, batches and evaluation."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from funcnn import optim, train
from funcnn.layers.protocol._layer import Layer

KEY = jax.random.key(0)


def linear(features=3):
    def init(key, shape):
        weight = jax.random.normal(key, (shape[-1], features))
        return {"weight": weight, "bias": jnp.zeros(features)}

    def apply(params, x, *, key=None):
        x = x if key is None else x * jax.random.bernoulli(key, 0.9, x.shape).astype(x)
        return x @ params["weight"] + params["bias"]

    return Layer(init, apply)


MODEL = linear()


def per_example(params, batch):
    x, labels = batch
    logits = MODEL.apply(params, x)
    picked = jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], -1)
    return {"loss": -picked[:, 0], "accuracy": logits.argmax(-1) == labels}


def loss(params, batch, key):
    del key
    values = per_example(params, batch)
    return values["loss"].mean(), {"accuracy": values["accuracy"].mean()}


def dataset(n=50, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, 4))
    return x, (x @ rng.standard_normal((4, 3))).argmax(-1)


def start(optimizer=None, key=KEY):
    return train.init(key, MODEL, optimizer or optim.adam(0.1), (1, 4))


def copies(tree):
    return jax.tree.map(
        lambda a: np.asarray(
            jax.random.key_data(a) if jnp.issubdtype(a.dtype, jax.dtypes.prng_key) else a
        ),
        tree,
    )


def assert_trees_equal(got, want, **tolerance):
    got, want = copies(got), copies(want)
    jax.tree.map(
        lambda g, w: np.testing.assert_allclose(g, w, **tolerance or {"rtol": 0}),
        got,
        want,
    )


# The state and the step


def test_init():
    optimizer = optim.adam(0.1)
    state = train.init(KEY, MODEL, optimizer, (1, 4))
    params_key, run_key = jax.random.split(KEY)
    assert state.step == 0
    assert state.step.dtype == jnp.int32
    assert state.key == run_key
    assert_trees_equal(state.params, MODEL.init(params_key, (1, 4)))
    assert_trees_equal(state.opt_state, optimizer.init(state.params))


@pytest.mark.parametrize(
    "optimizer, same",
    [(optim.sgd(0.1, 0.9), optax.sgd(0.1, 0.9)), (optax.sgd(0.1), optim.sgd(0.1))],
)
def test_step_is_gradient_update_apply(optimizer, same):
    state = start(optimizer)
    step = train.make_step(loss, optimizer)
    batch = dataset()
    after, metrics = step(state, batch)
    (value, extra), grads = jax.value_and_grad(loss, has_aux=True)(state.params, batch, KEY)
    updates, _ = same.update(grads, same.init(state.params), state.params)
    assert after.step == 1
    assert after.key == state.key
    assert_trees_equal(after.params, optax.apply_updates(state.params, updates), rtol=1e-12)
    assert metrics["loss"] == value
    assert metrics["accuracy"] == extra["accuracy"]
    np.testing.assert_allclose(metrics["grad_norm"], optax.tree.norm(grads))
    assert sorted(metrics) == ["accuracy", "grad_norm", "loss"]


def test_each_step_has_its_own_key():
    def noise(params, batch, key):
        return params["bias"].sum(), {"draw": jax.random.normal(key)}

    step = train.make_step(noise, optim.sgd(0.1))
    state = start(optim.sgd(0.1))
    draws = []
    for i in range(3):
        state, metrics = step(state, None)
        want = jax.random.normal(jax.random.fold_in(state.key, i))
        assert metrics["draw"] == want
        draws.append(float(want))
    assert len(set(draws)) == 3


def test_step_is_pure_and_jits_once():
    traces = []

    def counted(params, batch, key):
        traces.append(1)
        return loss(params, batch, key)

    step = jax.jit(train.make_step(counted, optim.adam(0.1)))
    state, batch = start(), dataset()
    first, _ = step(state, batch)
    again, _ = step(state, batch)
    assert_trees_equal(first, again)
    step(again, batch)
    assert len(traces) == 1
    assert step._cache_size() == 1


def test_step_under_scan_and_vmap_over_learning_rates():
    batch = dataset()

    def last_loss(rate):
        optimizer = optim.adam(rate)
        step = train.make_step(loss, optimizer)
        _, metrics = jax.lax.scan(
            lambda state, _: step(state, batch), start(optimizer), None, 10
        )
        return metrics["loss"]

    rates = jnp.asarray([0.01, 0.1])
    got = jax.vmap(last_loss)(rates)
    np.testing.assert_allclose(got, [last_loss(0.01), last_loss(0.1)], rtol=1e-10)
    assert (got[:, -1] < got[:, 0]).all()


def test_a_step_without_metrics_and_with_raw_keys():
    step = train.make_step(lambda *a: loss(*a)[0], optim.sgd(0.1))
    state = start(optim.sgd(0.1), jax.random.PRNGKey(0))
    state, metrics = jax.jit(step)(state, dataset())
    assert sorted(metrics) == ["grad_norm", "loss"]


@pytest.mark.parametrize(
    "result, error, message",
    [
        (
            lambda w: w,
            ValueError,
            r"make_step needs a scalar loss; got shape \(3,\). Take its mean.",
        ),
        (
            lambda w: (w[0], w[1]),
            TypeError,
            "make_step needs the loss's metrics to be a dict; got .*Tracer.*.",
        ),
        (
            lambda w: (w[0], {}, {}),
            TypeError,
            r"make_step needs a loss that returns a scalar or \(scalar, metrics\); "
            "got a tuple of 3.",
        ),
        (
            lambda w: jnp.argmax(w),
            TypeError,
            "make_step needs a floating-point loss; got int64.",
        ),
        (
            lambda w: {"loss": w[0]},
            TypeError,
            "make_step needs the loss to be a scalar array; got dict.",
        ),
        (
            lambda w: (w[0], {"grad_norm": w[0]}),
            ValueError,
            "make_step records 'grad_norm' itself; give the loss's metric another name.",
        ),
    ],
)
def test_bad_losses(result, error, message):
    step = train.make_step(lambda params, *_: result(params["bias"]), optim.sgd(0.1))
    with pytest.raises(error, match=rf"^{message}(\n|$)"):  # JAX adds a note
        step(start(optim.sgd(0.1)), None)


# The loop


def fit(steps=25, state=None, **arguments):
    optimizer = optim.adam(0.1)
    arguments.setdefault("progress", False)
    data = arguments.pop("data", None) or train.batches(dataset(), 10, key=KEY)
    return train.fit(
        train.make_step(loss, optimizer),
        state or start(optimizer),
        data,
        steps=steps,
        **arguments,
    )


def by_hand(steps=25):
    optimizer = optim.adam(0.1)
    step = jax.jit(train.make_step(loss, optimizer))
    state, rows = start(optimizer), []
    data = train.batches(dataset(), 10, key=KEY)
    for _ in range(steps):
        state, metrics = step(state, next(data))
        rows.append(metrics)
    return state, rows


@pytest.mark.parametrize("log_every", [1, 3, 10, 100])
def test_fit_is_the_loop_by_hand(log_every):
    state, history = fit(log_every=log_every)
    want, rows = by_hand()
    assert_trees_equal(state, want)
    assert history.step.tolist() == list(range(1, 26))
    assert sorted(history.metrics) == ["accuracy", "grad_norm", "loss"]
    for name, values in history.metrics.items():
        assert type(values) is np.ndarray
        np.testing.assert_array_equal(values, [row[name] for row in rows])
    assert history.eval_step.tolist() == []
    assert history.eval_metrics == {}


def test_fit_learns():
    _, history = fit(200)
    assert history.metrics["accuracy"][-20:].mean() > 0.95
    assert history.metrics["loss"][-1] < history.metrics["loss"][0] / 2


def test_fit_leaves_the_first_state_usable():
    state = start()
    before = copies(state)
    fit(3, state)
    fit(3, state)
    assert_trees_equal(state, before)


def test_fit_takes_aliased_states():
    """Two leaves that share one buffer cannot both be donated."""
    w = jnp.ones(3)
    optimizer = optim.sgd(0.1)
    params = {"a": w, "b": w}
    state = train.TrainState(jnp.asarray(0), params, optimizer.init(params), KEY)
    step = train.make_step(lambda p, *_: jnp.sum(p["a"] * p["b"]), optimizer)
    state, _ = train.fit(step, state, [0.0, 0.0], progress=False)
    np.testing.assert_allclose(state.params["a"], 0.81)


def test_fit_takes_steps_that_return_their_state_as_metrics():
    def step(state, batch):
        state = state._replace(step=state.step + 1, params=state.params + batch)
        return state, {"step": state.step, "params": state.params}

    state = train.TrainState(jnp.asarray(0), jnp.zeros(2), (), KEY)
    state, history = train.fit(step, state, np.ones((9, 2)), progress=False)
    assert history.metrics["step"].tolist() == history.step.tolist()
    np.testing.assert_array_equal(history.metrics["params"][:, 0], history.step)


def test_fit_goes_on_where_it_stopped():
    data = train.batches(dataset(), 10, key=KEY)
    state, early = fit(10, data=data)
    state, late = fit(15, state, data=data)
    want, rows = by_hand()
    assert_trees_equal(state, want)
    assert late.step.tolist() == list(range(11, 26))
    losses = np.concatenate([early.metrics["loss"], late.metrics["loss"]])
    np.testing.assert_array_equal(losses, [row["loss"] for row in rows])


def test_fit_compiles_once_also_when_called_again():
    traces = []

    def counted(params, batch, key):
        traces.append(1)
        return loss(params, batch, key)

    step = train.make_step(counted, optim.adam(0.1))
    data = train.batches(dataset(), 10, key=KEY)
    state, _ = train.fit(step, start(), data, steps=12, progress=False)
    train.fit(step, state, data, steps=12, progress=False)
    assert len(traces) == 1


def test_fit_takes_no_more_batches_than_steps():
    data = train.batches(dataset(), 10, key=KEY, epochs=2)
    fit(7, data=data)
    assert len(list(data)) == 3


def test_fit_until_the_data_ends():
    data = train.batches(dataset(), 10, key=KEY, epochs=2)
    state, history = fit(None, data=data)
    assert state.step == len(history.step) == 10


def test_fit_stops_with_a_warning_where_data_ends_before_steps():
    data = train.batches(dataset(), 10, key=KEY, epochs=2)
    with pytest.warns(UserWarning, match=r"^fit took 10 of 25 steps: the data ended.$"):
        state, history = fit(25, data=data)
    assert state.step == len(history.step) == 10


def test_fit_without_steps():
    state, history = fit(0)
    assert state.step == 0
    assert history.step.shape == history.eval_step.shape == (0,)
    assert history.metrics == {}


def test_fit_fetches_rarely(monkeypatch):
    fetched = []
    device_get = jax.device_get
    monkeypatch.setattr(
        jax, "device_get", lambda a: fetched.append(len(a)) or device_get(a)
    )
    fit(45, log_every=10)
    assert fetched == [10, 10, 10, 15]


@pytest.mark.parametrize(
    "eval_every, steps, want",
    [(None, 25, [25]), (10, 25, [10, 20, 25]), (5, 10, [5, 10]), (5, 0, [0])],
)
def test_fit_evaluates(eval_every, steps, want):
    seen = []

    def evaluate(params):
        seen.append(np.array(params["bias"]))
        return {"sum": params["bias"].sum(), "bias": params["bias"]}

    state, history = fit(steps, evaluate=evaluate, eval_every=eval_every)
    assert history.eval_step.tolist() == want
    np.testing.assert_array_equal(history.eval_metrics["bias"], seen)
    np.testing.assert_allclose(history.eval_metrics["sum"], np.sum(seen, -1))
    np.testing.assert_array_equal(seen[-1], state.params["bias"])


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        ({"steps": None}, ValueError, "fit needs steps for batches without end; got None."),
        ({"steps": -1}, ValueError, "fit needs steps of at least 0; got -1."),
        ({"steps": 2.5}, TypeError, "fit needs an integer steps; got 2.5."),
        ({"log_every": 0}, ValueError, "fit needs log_every of at least 1; got 0."),
        (
            {"eval_every": 0, "evaluate": dict},
            ValueError,
            "fit needs eval_every of at least 1; got 0.",
        ),
        ({"eval_every": 5}, ValueError, "fit needs evaluate for eval_every; got 5."),
    ],
)
def test_bad_fits(arguments, error, message):
    with pytest.raises(error, match=f"^{message}$"):
        fit(**arguments)


def test_progress_bar(capsys):
    pytest.importorskip("tqdm")
    evaluate = train.evaluator(per_example, dataset(20, seed=1))
    _, history = fit(25, progress=True, evaluate=evaluate, log_every=5)
    shown = capsys.readouterr().err
    assert "25/25" in shown
    assert "it/s" in shown
    assert f"loss={history.metrics['loss'][-1]:.3g}" in shown
    assert f"accuracy={history.metrics['accuracy'][-1]:.3g}" in shown
    assert f"eval_accuracy={history.eval_metrics['accuracy'][-1]:.3g}" in shown


def test_progress_bar_knows_the_end_of_batches(capsys):
    pytest.importorskip("tqdm")
    data = train.batches(dataset(), 10, key=KEY, epochs=2)
    fit(None, data=data, progress=True)
    assert "10/10" in capsys.readouterr().err


@pytest.mark.parametrize("progress", [None, False])
def test_no_progress_bar(capsys, progress):
    fit(3, progress=progress)
    assert capsys.readouterr().err == ""


def test_progress_bar_on_a_terminal(capsys, monkeypatch):
    pytest.importorskip("tqdm")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    fit(3, progress=None)
    assert "3/3" in capsys.readouterr().err


def test_progress_bar_needs_tqdm(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    with pytest.raises(
        ImportError,
        match=r"^fit needs tqdm to show a bar: install funcnn\[train\] or pass "
        r"progress=False.$",
    ):
        fit(3, progress=True)


def test_no_progress_bar_on_a_terminal_without_tqdm(monkeypatch, capsys):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    fit(3, progress=None)
    assert capsys.readouterr().err == ""


# Batches


def test_an_epoch_holds_each_example_once():
    x = np.arange(20)
    data = {"x": x, "y": (x[:, None] * [1, 2],)}
    epochs = [list(train.batches(data, 5, key=KEY, epochs=n)) for n in (1, 2)]
    assert [len(e) for e in epochs] == [4, 8]
    first, second = epochs[1][:4], epochs[1][4:]
    for epoch in (first, second):
        assert sorted(np.concatenate([b["x"] for b in epoch])) == x.tolist()
        for batch in epoch:
            np.testing.assert_array_equal(batch["y"][0], batch["x"][:, None] * [1, 2])
    assert_trees_equal(first, epochs[0])
    orders = [np.concatenate([b["x"] for b in e]).tolist() for e in (first, second)]
    assert orders[0] != orders[1] != x.tolist()
    assert orders[1] == jax.random.permutation(jax.random.fold_in(KEY, 1), 20).tolist()


def test_the_key_is_the_order():
    def order(key):
        return np.stack(list(train.batches(np.arange(20), 5, key=key, epochs=2)))

    np.testing.assert_array_equal(order(KEY), order(KEY))
    assert (order(KEY) != order(jax.random.key(1))).any()


def test_the_last_short_batch_is_dropped():
    data = train.batches(np.arange(11), 4, key=KEY, epochs=3)
    assert [b.shape for b in data] == [(4,)] * 6
    whole = train.batches(np.arange(11), 11, key=KEY, epochs=1)
    assert sorted(next(whole)) == list(range(11))


def test_batches_are_numpy_of_the_same_dtype():
    data = (jnp.ones((6, 2), jnp.bfloat16), np.ones(6, np.uint8), None)
    x, y, none = next(train.batches(data, 2, key=KEY))
    assert (type(x), x.dtype, x.shape) == (np.ndarray, jnp.bfloat16, (2, 2))
    assert (type(y), y.dtype, y.shape) == (np.ndarray, np.uint8, (2,))
    assert none is None


def test_endless_batches():
    data = train.batches(np.arange(4), 2, key=KEY)
    assert data.endless
    assert len([next(data) for _ in range(100)]) == 100


@pytest.mark.parametrize(
    "data, batch_size, error, message",
    [
        (
            {"x": np.ones(3), "y": np.ones((4, 2))},
            2,
            ValueError,
            "batches needs arrays with as many examples each; "
            r"got 3 at \['x'\] and 4 at \['y'\].",
        ),
        (
            np.ones(3),
            4,
            ValueError,
            "batches needs batch_size of at most 3, the number of examples; got 4.",
        ),
        (np.ones(3), 0, ValueError, "batches needs batch_size of at least 1; got 0."),
        (np.ones(3), 1.0, TypeError, "batches needs an integer batch_size; got 1.0."),
        ((), 1, ValueError, r"batches needs at least one array; got \(\)."),
        (np.ones((0, 3)), 1, ValueError, "batches needs at least one example; got none."),
        (
            (np.ones(3), 1.0),
            1,
            ValueError,
            "batches needs arrays with a leading axis of examples; "
            r"got shape \(\) at \[1\].",
        ),
    ],
)
def test_bad_batches(data, batch_size, error, message):
    with pytest.raises(error, match=f"^{message}$"):
        train.batches(data, batch_size, key=KEY)


def test_bad_epochs():
    with pytest.raises(ValueError, match=r"^batches needs epochs of at least 0; got -1.$"):
        train.batches(np.ones(3), 1, key=KEY, epochs=-1)


# Evaluation


@pytest.mark.parametrize("batch_size", [1, 7, 10, 49, 50, 1000])
def test_evaluation_is_the_mean_over_all_examples(batch_size):
    data, params = dataset(50), start().params
    got = train.evaluator(per_example, data, batch_size)(params)
    want = per_example(params, data)
    assert all(type(value) is float for value in got.values())
    np.testing.assert_allclose(got["loss"], want["loss"].mean(), rtol=1e-14)
    assert got["accuracy"] == float(want["accuracy"].sum()) / 50


def test_evaluation_compiles_once():
    traces = []

    def counted(params, batch):
        traces.append(1)
        return per_example(params, batch)

    evaluate = train.evaluator(counted, dataset(50), 7)
    values = [evaluate(start(key=jax.random.key(i)).params)["loss"] for i in range(3)]
    assert len(set(values)) == 3
    assert len(traces) == 1


def test_evaluation_sums_low_precision_in_float32():
    data = np.full(1000, 1.01, jnp.bfloat16)
    evaluate = train.evaluator(lambda _, x: {"x": x}, data, 999)
    np.testing.assert_allclose(evaluate(None)["x"], float(data[0]), rtol=1e-6)


def test_bad_metrics():
    data = dataset(50)
    with pytest.raises(
        ValueError,
        match=r"^evaluator needs one number per example, shape \(10,\), of each metric; "
        r"got shape \(\) of 'loss'.\n",
    ):
        train.evaluator(lambda *_: {"loss": jnp.ones(())}, data, 10)(None)
    with pytest.raises(
        TypeError, match=r"^evaluator needs metrics that return a dict; got tuple.\n"
    ):
        train.evaluator(lambda *_: (), data, 10)(None)
    with pytest.raises(
        ValueError, match=r"^evaluator needs batch_size of at least 1; got 0.$"
    ):
        train.evaluator(per_example, data, 0)
    with pytest.raises(
        ValueError, match=r"^evaluator needs arrays .* got 3 at \[0\] and 4 at \[1\].$"
    ):
        train.evaluator(per_example, (np.ones(3), np.ones(4)), 1)
