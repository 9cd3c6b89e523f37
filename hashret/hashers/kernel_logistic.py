"""Kernel logistic regression of many bits at once: how SePH predicts the codes it learned from a view's vectors.

Each bit is a two-class problem of its own over the same features, the Gaussian kernel to a few hundred anchors, so that
prediction does not grow with the training set. The bits share nothing but the matrix products.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans

from hashret.hashers.neighbour_codes import descended

__all__ = ["Anchors", "find_anchors", "logistic_loss", "logistic_weights"]

Matrix = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Anchors:
    """Points of a view and the width of the kernel around them.

    Attributes:
        points: float64 (anchors, D).
        scale: The mean squared distance of training vectors to the anchors.
    """

    points: Matrix
    scale: float

    def features(self, vectors: NDArray[Any]) -> Matrix:
        """exp(-|x - a|^2 / (2 scale)) to each anchor a, and a 1 for the bias: float64 (N, anchors + 1)."""
        kernel = np.exp(squared_distances(np.asarray(vectors, np.float64), self.points) / (-2 * self.scale))
        return np.hstack([kernel, np.ones((len(vectors), 1))])


def find_anchors(vectors: Matrix, count: int, rng: np.random.Generator) -> Anchors:
    """The centres of k-means, and the mean squared distance to them (a width that needs no choice)."""
    distinct = len(np.unique(vectors, axis=0))
    clusters = KMeans(min(count, distinct), n_init=1, random_state=int(rng.integers(2**31)))
    points = np.asarray(clusters.fit(vectors).cluster_centers_, np.float64)
    scale = float(squared_distances(vectors, points).mean())
    return Anchors(points, scale)


def squared_distances(vectors: Matrix, points: Matrix) -> Matrix:
    """|x - a|^2 of each vector (N, D) and point (M, D), float64 (N, M), never below 0."""
    squares = (vectors**2).sum(1)[:, None] + (points**2).sum(1) - 2 * vectors @ points.T
    return np.asarray(np.maximum(squares, 0), np.float64)


def logistic_loss(weights: Matrix, features: Matrix, targets: Matrix, penalty: float) -> tuple[float, Matrix]:
    """Mean over items, summed over bits, of log(1 + exp(-b f.w)), plus penalty |w|^2; and its gradient.

    Args:
        weights: float64 (F, bits); the last row is the bias and is not penalised.
        features: float64 (N, F).
        targets: The bits b in {-1, +1}, float64 (N, bits).
        penalty: >= 0.
    """
    margins = targets * (features @ weights)
    free = np.vstack([weights[:-1], np.zeros((1, weights.shape[1]))])
    loss = float(np.logaddexp(0, -margins).sum() / len(features) + penalty * (free**2).sum())
    missing = targets * np.exp(-np.logaddexp(0, margins))  # b (1 - probability of the right side)
    return loss, -features.T @ missing / len(features) + 2 * penalty * free


def logistic_weights(features: Matrix, targets: Matrix, penalty: float, iterations: int) -> Matrix:
    """The weights (F, bits) of least loss; equal columns of ``targets`` are solved once."""
    columns, places = np.unique(targets, axis=1, return_inverse=True)
    start = np.zeros((features.shape[1], columns.shape[1]))
    found = descended(lambda weights: logistic_loss(weights, features, columns, penalty), start, iterations)
    return found[:, places.ravel()]
