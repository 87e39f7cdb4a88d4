"""Training as pure steps, from a loop of one's own to a run on many devices.

    state = train.init(key, model, optimizer, (1, 784))
    step = train.make_step(loss, optimizer)
    data = train.batches((images, labels), 128, key=key)
    state, history = train.fit(step, state, data, steps=1000)

`make_step`'s step is a pure function, for use in loops and transformations of one's
own. `fit` is the loop that a run wants which is to be left alone: it goes on from
`Checkpoints`, evaluates, stops, writes logs, and runs on the devices of a `Layout`.
"""

# States on disk
from funcnn.train.checkpoints._checkpoints import Checkpoints as Checkpoints
from funcnn.train.checkpoints._safetensors import load_safetensors as load_safetensors
from funcnn.train.checkpoints._safetensors import save_safetensors as save_safetensors

# Batches
from funcnn.train.data._batches import batches as batches
from funcnn.train.data._prefetch import prefetch as prefetch
from funcnn.train.data._standardize import moments as moments
from funcnn.train.data._standardize import standardize as standardize

# The loop around a step
from funcnn.train.loop._early_stopping import EarlyStopping as EarlyStopping
from funcnn.train.loop._evaluator import evaluator as evaluator
from funcnn.train.loop._fit import fit as fit
from funcnn.train.loop._guard import NonFiniteError as NonFiniteError
from funcnn.train.loop._interrupt import Interrupted as Interrupted

# Many devices
from funcnn.train.mesh._layout import Layout as Layout
from funcnn.train.mesh._shard import shard as shard

# What a run was, and what a model is
from funcnn.train.report._history import History as History
from funcnn.train.report._logs import JSONLog as JSONLog
from funcnn.train.report._logs import TensorBoardLog as TensorBoardLog
from funcnn.train.report._summary import Summary as Summary
from funcnn.train.report._summary import summary as summary

# One update
from funcnn.train.step._first_nonfinite import first_nonfinite as first_nonfinite
from funcnn.train.step._loss_scale import LossScaled as LossScaled
from funcnn.train.step._loss_scale import dynamic_loss_scale as dynamic_loss_scale
from funcnn.train.step._make_step import make_step as make_step
from funcnn.train.step._scan_steps import scan_steps as scan_steps
from funcnn.train.step._train_state import TrainState as TrainState
from funcnn.train.step._train_state import init as init
