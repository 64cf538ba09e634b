"""Hard Concrete gates and sparse survey calibration in plain torch.

The distribution is in ``hard_concrete``, gates that select in ``gates``, gated layers in
``layers``, models made smaller in ``pruning``, estimators in ``sparse`` and ``calibration``, and
survey calibration to an exact number of records in ``survey``.
"""

from l0.calibration import SparseCalibrationWeights
from l0.errors import InputError
from l0.gate_training import GateFit, GateFitSettings, fit_gates
from l0.gates import FeatureGate, HybridGate, L0Gate, SampleGate
from l0.hard_concrete import HardConcrete
from l0.layers import L0Conv2d, L0DepthwiseConv2d, L0Linear, SparseMLP
from l0.penalties import (
    compute_l0_penalty,
    compute_l0l2_penalty,
    compute_l2_penalty,
    get_active_parameter_count,
    get_sparsity_stats,
)
from l0.penalty_tracker import PenaltyTracker
from l0.pruning import ModelCost, model_cost, prune_model
from l0.sparse import SparseL0Linear
from l0.temperature import TemperatureScheduler, update_temperatures

__all__ = [
    "FeatureGate",
    "GateFit",
    "GateFitSettings",
    "HardConcrete",
    "HybridGate",
    "InputError",
    "L0Conv2d",
    "L0DepthwiseConv2d",
    "L0Gate",
    "L0Linear",
    "ModelCost",
    "PenaltyTracker",
    "SampleGate",
    "SparseCalibrationWeights",
    "SparseL0Linear",
    "SparseMLP",
    "TemperatureScheduler",
    "compute_l0_penalty",
    "compute_l0l2_penalty",
    "compute_l2_penalty",
    "fit_gates",
    "get_active_parameter_count",
    "get_sparsity_stats",
    "model_cost",
    "prune_model",
    "update_temperatures",
]
