"""Neural networks in JAX as pure functions, with hand-written gradients.

`ops` are functions of arrays whose backward passes are derived and written by
hand; `layers` are `init`/`apply` pairs over them; `losses` are scalar; `optim`
and `train` are pure state transitions; `generation` draws text from a model; `verify`
verifies gradients, ours and yours.
"""

from funcnn import generation as generation
from funcnn import layers as layers
from funcnn import losses as losses
from funcnn import ops as ops
from funcnn import optim as optim
from funcnn import train as train
from funcnn import verify as verify

__version__ = "0.1.0"
