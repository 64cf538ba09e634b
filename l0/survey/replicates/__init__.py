"""Replicate weights: how far estimates from a sparse support would move with another draw."""

from l0.survey.replicates.replicate_weights import ReplicateWeights, replicate_weights

__all__ = ["ReplicateWeights", "replicate_weights"]
