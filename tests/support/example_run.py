"""Run an example with params that NumPy draws, which takes no compiling.

python -m tests.support.example_run SCRIPT ARGUMENTS
"""

import runpy
import sys
from pathlib import Path

from funcnn import train
from tests.support.drawn_params import drawn_state

FOLDER = Path(__file__).parents[2] / "examples"


def init(key, model, optimizer, shape):
    """In place of `train.init`."""
    del key
    return drawn_state(model, optimizer, shape)


def main():
    train.init = init
    sys.argv = sys.argv[1:]
    sys.path.insert(0, str(FOLDER))
    runpy.run_path(str(FOLDER / sys.argv[0]), run_name="__main__")


if __name__ == "__main__":
    main()
