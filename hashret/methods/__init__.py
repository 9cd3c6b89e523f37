"""METHODS: one paper, one file."""

from hashret.methods.contrastive import Contrastive
from hashret.methods.crcgs import CRCGS
from hashret.methods.method import Batch, Method, Stage, StageSettings, Turn

__all__ = ["METHODS", "Batch", "Method", "Stage", "StageSettings", "Turn"]

METHODS: dict[str, type[Method]] = {"contrastive": Contrastive, "crcgs": CRCGS}
