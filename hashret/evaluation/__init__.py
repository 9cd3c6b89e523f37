"""Retrieval metrics with a stated tie rule."""

from hashret.evaluation.curve import precision_recall
from hashret.evaluation.evaluate import UNANSWERED, Scores, evaluate
from hashret.evaluation.metrics import METRICS, parse_metrics
from hashret.evaluation.ties import TIES

__all__ = ["METRICS", "TIES", "UNANSWERED", "Scores", "evaluate", "parse_metrics", "precision_recall"]
