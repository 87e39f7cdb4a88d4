"""Examples in docstrings run."""

import importlib
import inspect
import json
import pkgutil
import re
import textwrap

import funcnn
from tests.support.as_user import QUICK, run

# What examples in docstrings may use without saying where it is from.
NAMES = """
import tempfile
import jax
import jax.numpy as jnp
import numpy as np
from funcnn import generation, layers, losses, ops, optim, train, verify

key = jax.random.key(0)
images = jax.random.normal(key, (256, 28, 28, 1))
labels = jax.random.randint(key, (256,), 0, 10)
test_images, test_labels = images[:100], labels[:100]
model = layers.Serial(layers.Flatten(), layers.Dense(10))
optimizer = optim.sgd(0.1)

def loss(params, batch, key):
    x, y = batch
    return losses.softmax_cross_entropy(model.apply(params, x, key=key), y)

state = train.init(key, model, optimizer, (1, 784))
params, x = state.params, images
directory = tempfile.mkdtemp()
path = directory + "/file"
"""


def documented():
    """Each docstring of the package, by the name of what it documents."""
    modules = [funcnn.__name__]
    modules += [m.name for m in pkgutil.walk_packages(funcnn.__path__, "funcnn.")]
    for name in modules:
        if not name.endswith("__main__"):
            module = importlib.import_module(name)
            yield name, inspect.getdoc(module) or ""
            for member, value in vars(module).items():
                own = getattr(value, "__doc__", None) is not type(value).__doc__
                if getattr(value, "__module__", None) == name and value.__doc__ and own:
                    yield f"{name}.{member}", inspect.getdoc(value)


def indented(text):
    """The blocks of code in a docstring: indented, before any section like Args."""
    prose = re.split(r"^(?:Args|Attributes|Returns|Yields|Raises):$", text, flags=re.M)[0]
    found = re.findall(r"(?<=\n\n)(?:    .*(?:\n|\Z)|\n(?=    ))+", prose)
    return [textwrap.dedent(block).strip() for block in found]


EXAMPLES = [(name, block) for name, text in documented() for block in indented(text)]
DOCTESTS = [(name, text) for name, text in documented() if ">>> " in text]


# Each example has a state of its own, which it may donate.
RUNNER = """
import doctest, json, sys
names, examples, doctests = json.load(sys.stdin)
exec(names, shared := {})

def own():
    jax, state = shared["jax"], shared["state"]
    state = jax.tree.map(lambda a: a.copy(), state)
    return dict(shared, state=state, params=state.params)

for name, block in examples:
    exec(compile(block, name, "exec"), own())
parse = doctest.DocTestParser().get_doctest
runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
for name, text in doctests:
    runner.run(parse(text, own(), name, None, 0))
sys.exit(runner.failures)
"""


def test_examples_in_docstrings_run():
    """All in one process; each starts from NAMES."""
    assert EXAMPLES
    given = json.dumps([NAMES, EXAMPLES, DOCTESTS])
    result = run("-W", "error", "-c", RUNNER, input=given, env=QUICK)
    assert result.returncode == 0, result.stdout + result.stderr
