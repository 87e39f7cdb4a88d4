"""A layer many times over: as many in a row, in one program."""

import jax
import jax.numpy as jnp
import numpy as np

from funcnn import layers
from funcnn.layers import Layer, Stack, Transformer
from tests.support.attention import SAME, TOKENS, params_and_input
from tests.support.layers import KEY, abstract, by_key, close, fails


def shifted(layer):
    """The layer, whose output is shifted by a number that depends on the key."""

    def apply(params, x, *, key=None):
        y = layer.apply(params, x)
        return y if key is None else y + jax.random.key_data(key)[0].astype(y.dtype) / 2**32

    return Layer(layer.init, apply)


def test_a_stack_is_its_layers_in_a_row():
    layer = shifted(layers.Residual(layers.RMSNorm(), layers.Dense(8)))
    params, x = params_and_input(Stack(layer, 2), SAME)

    def row(p, x, key=None):
        for i in range(2):
            k = None if key is None else jax.random.fold_in(key, i)
            x = layer.apply(jax.tree.map(lambda a, i=i: a[i], p), x, key=k)
        return x

    kinds = [Stack(layer, 2), Stack(layer, 2, remat=True)]
    kinds.append(Stack(layer, 2, scan=False, remat=True))

    @jax.jit
    def compute(params, x):
        def values(f):
            g = jax.value_and_grad(lambda p, x: (f(p, x, key=KEY) ** 2).sum(), (0, 1))
            return g(params, x)

        plain = [f(params, x) for f in (row, kinds[0].apply)]
        return plain, [values(f) for f in (row, *(kind.apply for kind in kinds))]

    plain, (want, *found) = compute(params, x)
    close(*plain)
    for got in found:
        close(got, want, 1e-10)


def test_a_stack_draws_as_its_layers_do():
    layer = layers.Dense(8, weight_init=by_key)

    @jax.jit
    def compute(key):
        rows = [layer.init(jax.random.fold_in(key, i), SAME) for i in range(3)]
        return Stack(layer, 3).init(key, SAME), jax.tree.map(lambda *a: jnp.stack(a), *rows)

    close(*compute(KEY))


def test_a_stack_widens_what_its_layers_would():
    stack = Stack(layers.Residual(layers.Dense(8)), 2)
    x = jax.ShapeDtypeStruct((2, 8), jnp.bfloat16)
    for dtype in (jnp.float32, jnp.bfloat16):
        params = abstract(stack, (2, 8), dtype)[0]
        assert jax.eval_shape(stack.apply, params, x).dtype == dtype


def test_a_stack_of_any_depth_is_one_program():
    def size(depth):
        layer = Transformer(11, 8, 4, depth)
        params = jax.eval_shape(layer.init, KEY, TOKENS)
        f = jax.grad(lambda p: layer.apply(p, TOKENS).sum())
        return len(jax.jit(f).lower(params).as_text())

    assert size(12) < 1.01 * size(2)


def test_remat_keeps_less():
    def held(**options):
        layer = Transformer(11, 8, 4, 6, **options)
        params = jax.eval_shape(layer.init, KEY, TOKENS)
        pull = jax.eval_shape(
            lambda p: jax.vjp(lambda q: layer.apply(q, TOKENS), p)[1], params
        )
        return sum(a.size for a in jax.tree.leaves(pull))

    assert held(remat=True) < 0.5 * held()


def test_wrong_stacks():
    fails(TypeError, "Stack needs a layer; got ", Stack, layers.Relu, 2)
    fails(ValueError, "Stack needs depth of at least 1; got 0.", Stack, layers.Relu(), 0)
    fails(
        TypeError, "Stack needs a bool for remat; got 1.", Stack, layers.Relu(), 2, remat=1
    )
    stack = Stack(layers.Dense(3), 2)
    message = (
        "Stack needs a layer that keeps the shape of x; got (2, 3) for x of shape (2, 4"
    )
    fails(ValueError, message, jax.eval_shape, lambda key: stack.init(key, (2, 4)), KEY)
    params = {"weight": np.ones((2, 3, 3)), "bias": np.ones((2, 3))}
    message = (
        "Stack needs params with a first axis of length 3; got shape (2, 3) at ['bias']."
    )
    fails(ValueError, message, Stack(layers.Dense(3), 3).apply, params, np.ones((2, 3)))
