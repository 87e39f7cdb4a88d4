"""Optimizers as pure state transitions, in optax's protocol.

`init(params) -> state`, then `update(grads, state, params) -> (updates, state)` and
`apply_updates(params, updates)`. Either library's chains take the other's members.

Methods take a `learning_rate` and train alone. What takes an `optimizer` wraps it, and
all else that returns one is a part for `chain`. A `*_schedule` is a learning rate. A
`*State` is what an optimizer remembers.
"""

# isort: off  (names are in the order of their purpose)

# The protocol.
from funcnn.optim.measures._health import health as health
from funcnn.optim.measures._health import leaf_norms as leaf_norms
from funcnn.optim.measures._health import nonfinite_counts as nonfinite_counts
from funcnn.optim.measures._health import nonfinite_paths as nonfinite_paths
from funcnn.optim.measures._health import update_ratios as update_ratios

# Measures: numbers that a step may return as metrics.
from funcnn.optim.measures._norm import global_norm as global_norm
from funcnn.optim.methods._adadelta import AdadeltaState as AdadeltaState
from funcnn.optim.methods._adadelta import adadelta as adadelta
from funcnn.optim.methods._adafactor import AdafactorState as AdafactorState
from funcnn.optim.methods._adafactor import adafactor as adafactor
from funcnn.optim.methods._adagrad import AdagradState as AdagradState

# by the gradient over its root mean square,
from funcnn.optim.methods._adagrad import adagrad as adagrad
from funcnn.optim.methods._adam import AdamState as AdamState

# by its mean over its root mean square,
from funcnn.optim.methods._adam import adam as adam
from funcnn.optim.methods._adam import adamw as adamw
from funcnn.optim.methods._adam import scale_by_adam as scale_by_adam
from funcnn.optim.methods._adamax import AdamaxState as AdamaxState
from funcnn.optim.methods._adamax import adamax as adamax
from funcnn.optim.methods._amsgrad import AmsgradState as AmsgradState
from funcnn.optim.methods._amsgrad import amsgrad as amsgrad
from funcnn.optim.methods._lamb import lamb as lamb
from funcnn.optim.methods._lars import LarsState as LarsState
from funcnn.optim.methods._lars import lars as lars
from funcnn.optim.methods._lion import LionState as LionState
from funcnn.optim.methods._lion import lion as lion
from funcnn.optim.methods._lion import scale_by_lion as scale_by_lion
from funcnn.optim.methods._muon import MuonState as MuonState

# by matrices made orthogonal, or by the loss's curvature.
from funcnn.optim.methods._muon import muon as muon
from funcnn.optim.methods._nadam import nadam as nadam
from funcnn.optim.methods._radam import radam as radam
from funcnn.optim.methods._rmsprop import RmspropState as RmspropState
from funcnn.optim.methods._rmsprop import rmsprop as rmsprop
from funcnn.optim.methods._rmsprop import scale_by_rms as scale_by_rms

# Methods, which train alone: by the gradient, or its sign,
from funcnn.optim.methods._sgd import sgd as sgd
from funcnn.optim.methods._sophia import SophiaState as SophiaState
from funcnn.optim.methods._sophia import sophia as sophia
from funcnn.optim.precision._codes import Blocks as Blocks

# Precision: what moments may be stored as, and how.
from funcnn.optim.precision._codes import Int8 as Int8
from funcnn.optim.protocol._apply import apply_updates as apply_updates
from funcnn.optim.protocol._decay_mask import decay_mask as decay_mask
from funcnn.optim.protocol._optimizer import Optimizer as Optimizer

# Schedules: functions of the step, for a learning rate.
from funcnn.optim.schedules._curves import constant_schedule as constant_schedule
from funcnn.optim.schedules._curves import cosine_schedule as cosine_schedule
from funcnn.optim.schedules._curves import exponential_schedule as exponential_schedule
from funcnn.optim.schedules._curves import linear_schedule as linear_schedule
from funcnn.optim.schedules._curves import polynomial_schedule as polynomial_schedule
from funcnn.optim.schedules._cycles import cyclic_schedule as cyclic_schedule
from funcnn.optim.schedules._cycles import one_cycle_schedule as one_cycle_schedule
from funcnn.optim.schedules._joins import join_schedules as join_schedules
from funcnn.optim.schedules._joins import piecewise_schedule as piecewise_schedule
from funcnn.optim.schedules._warmups import inverse_sqrt_schedule as inverse_sqrt_schedule
from funcnn.optim.schedules._warmups import warmup_cosine_schedule as warmup_cosine_schedule
from funcnn.optim.schedules._warmups import (
    warmup_stable_decay_schedule as warmup_stable_decay_schedule,
)
from funcnn.optim.transformations._centralize import CentralizeState as CentralizeState
from funcnn.optim.transformations._centralize import centralize as centralize
from funcnn.optim.transformations._clip import ClipState as ClipState

# Transformations, parts of a chain: gradients clipped or changed,
from funcnn.optim.transformations._clip import clip_by_global_norm as clip_by_global_norm
from funcnn.optim.transformations._clip_leaves import (
    adaptive_grad_clip as adaptive_grad_clip,
)
from funcnn.optim.transformations._clip_leaves import clip as clip
from funcnn.optim.transformations._clip_leaves import clip_by_block_rms as clip_by_block_rms
from funcnn.optim.transformations._decay import DecayState as DecayState
from funcnn.optim.transformations._decay import add_decayed_weights as add_decayed_weights
from funcnn.optim.transformations._ema import EmaState as EmaState
from funcnn.optim.transformations._ema import ema_params as ema_params
from funcnn.optim.transformations._freeze import FreezeState as FreezeState

# what comes last,
from funcnn.optim.transformations._freeze import freeze as freeze
from funcnn.optim.transformations._hutchinson import HutchinsonState as HutchinsonState

# and sophia's estimate of curvature.
from funcnn.optim.transformations._hutchinson import hutchinson as hutchinson
from funcnn.optim.transformations._noise import NoiseState as NoiseState
from funcnn.optim.transformations._noise import add_noise as add_noise
from funcnn.optim.transformations._scale import ScaleState as ScaleState

# factors, the learning rate among them,
from funcnn.optim.transformations._scale import scale as scale
from funcnn.optim.transformations._scale import (
    scale_by_learning_rate as scale_by_learning_rate,
)
from funcnn.optim.transformations._scale import scale_by_schedule as scale_by_schedule

# States, in the order of what they are of.
from funcnn.optim.transformations._trace import SgdState as SgdState

# directions, which lack but a learning rate,
from funcnn.optim.transformations._trace import trace as trace
from funcnn.optim.transformations._trust_ratio import TrustRatioState as TrustRatioState
from funcnn.optim.transformations._trust_ratio import (
    scale_by_trust_ratio as scale_by_trust_ratio,
)
from funcnn.optim.wrappers._accumulate import AccumulateState as AccumulateState

# one whose updates are put together, left out, or averaged,
from funcnn.optim.wrappers._accumulate import accumulate as accumulate

# Wrappers, which go around optimizers: several as one, by turns or by leaf,
from funcnn.optim.wrappers._chain import chain as chain
from funcnn.optim.wrappers._finite import FiniteState as FiniteState
from funcnn.optim.wrappers._finite import apply_if_finite as apply_if_finite
from funcnn.optim.wrappers._inject import InjectState as InjectState

# one with its numbers in the state,
from funcnn.optim.wrappers._inject import inject as inject
from funcnn.optim.wrappers._lookahead import LookaheadState as LookaheadState
from funcnn.optim.wrappers._lookahead import lookahead as lookahead
from funcnn.optim.wrappers._master_weights import MasterState as MasterState

# or one for params of low precision.
from funcnn.optim.wrappers._master_weights import master_weights as master_weights
from funcnn.optim.wrappers._partition import PartitionState as PartitionState
from funcnn.optim.wrappers._partition import masked as masked
from funcnn.optim.wrappers._partition import partition as partition
from funcnn.optim.wrappers._per_layer import per_layer as per_layer
from funcnn.optim.wrappers._schedule_free import ScheduleFreeState as ScheduleFreeState
from funcnn.optim.wrappers._schedule_free import schedule_free as schedule_free
from funcnn.optim.wrappers._schedule_free import (
    schedule_free_params as schedule_free_params,
)
from funcnn.optim.wrappers._stochastic_rounding import RoundingState as RoundingState
from funcnn.optim.wrappers._stochastic_rounding import (
    stochastic_rounding as stochastic_rounding,
)
