"""The one training loop and its checkpoints."""

from hashret.training.loop import Fit, fit
from hashret.training.pairs import PairTable

__all__ = ["Fit", "PairTable", "fit"]
