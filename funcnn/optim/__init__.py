"""Optimizers as pure state transitions, in optax's protocol.

`init(params) -> state`, then `update(grads, state, params) -> (updates, state)` and
`apply_updates(params, updates)`. Either library's chains take the other's members.
"""

from funcnn.optim._adam import AdamState as AdamState
from funcnn.optim._adam import adam as adam
from funcnn.optim._adam import adamw as adamw
from funcnn.optim._clip import ClipState as ClipState
from funcnn.optim._clip import clip_by_global_norm as clip_by_global_norm
from funcnn.optim._clip import global_norm as global_norm
from funcnn.optim._combine import apply_updates as apply_updates
from funcnn.optim._combine import chain as chain
from funcnn.optim._decay import DecayState as DecayState
from funcnn.optim._decay import add_decayed_weights as add_decayed_weights
from funcnn.optim._optimizer import Optimizer as Optimizer
from funcnn.optim._sgd import SgdState as SgdState
from funcnn.optim._sgd import sgd as sgd
