"""A disk that is full, then a directory that is gone: the next call says so, and all ends.

python -m tests.support.failing_disk FOLDER
"""

import resource
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from funcnn import train


def state(count):
    x = jax.random.normal(jax.random.key(count), (2**16,), jnp.float32)
    return train.TrainState(jnp.int32(count), {"w": x}, (), jax.random.key(0))


def read(checkpoints, step):
    back = checkpoints.restore(state(0))
    assert back.step == step
    np.testing.assert_array_equal(back.params["w"], state(step).params["w"])


def fails(call, *arguments):
    try:
        call(*arguments)
    except OSError as error:
        return str(error)


def full(folder):
    """No file may be as long as a checkpoint's: whatever is called next tells of it."""
    most = resource.getrlimit(resource.RLIMIT_FSIZE)
    for name in ("wait", "save", "restore", "close", "best"):
        directory = Path(folder, name)
        checkpoints = train.Checkpoints(directory, keep=1, best="loss")
        checkpoints.save(state(1), metrics={"loss": 1})
        checkpoints.wait()
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, most[1]))
        arguments = {"save": (state(3),), "restore": (state(0),)}.get(name, ())
        message = fails(checkpoints.save, state(2), None, {"loss": 2})
        message = message or fails(getattr(checkpoints, name), *arguments)
        resource.setrlimit(resource.RLIMIT_FSIZE, most)
        start = f"Checkpoints could not save step 2 in {directory}: "
        assert message.startswith(start), message
        assert "File too large" in message, message
        assert message.endswith(" Step 1 is whole."), message
        if name == "close":
            checkpoints = train.Checkpoints(directory, keep=1, best="loss")
        assert checkpoints.latest() == 1
        read(checkpoints, 1)
        checkpoints.save(state(4), metrics={"loss": 0})
        read(checkpoints, 4)
        checkpoints.close()
        assert [p.name for p in directory.iterdir()] == ["4"], [*directory.iterdir()]


def gone(folder):
    """Print the error; that the process ends shows that no thread of Orbax's is left."""
    directory = Path(folder, "run")
    state = train.TrainState(jnp.int32(1), {}, (), jax.random.key(0))
    checkpoints = train.Checkpoints(directory)
    checkpoints.save(state)
    checkpoints.wait()
    directory.rename(directory.with_name("moved"))
    directory.touch()
    print(fails(checkpoints.save, state._replace(step=state.step + 1)))


if __name__ == "__main__":
    full(sys.argv[1])
    gone(sys.argv[1])
