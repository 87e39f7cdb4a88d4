"""Training as pure steps: state, step, loop, batches, evaluation.

    state = train.init(key, model, optimizer, (1, 784))
    step = train.make_step(loss, optimizer)
    data = train.batches((images, labels), 128, key=key)
    state, history = train.fit(step, state, data, steps=1000)

`make_step`'s step is a pure function, for use in loops and transformations of one's
own; `fit` is the loop that most small runs need.
"""

from funcnn.train._data import batches as batches
from funcnn.train._evaluate import evaluator as evaluator
from funcnn.train._loop import History as History
from funcnn.train._loop import fit as fit
from funcnn.train._state import TrainState as TrainState
from funcnn.train._state import init as init
from funcnn.train._step import make_step as make_step
