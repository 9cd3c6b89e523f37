"""The one training loop and its checkpoints."""

from hashret.training.loop import Fit, fit
from hashret.training.pairs import PairTable
from hashret.training.processes import Processes
from hashret.training.start import Start
from hashret.training.views import Views

__all__ = ["Fit", "PairTable", "Processes", "Start", "Views", "fit"]
