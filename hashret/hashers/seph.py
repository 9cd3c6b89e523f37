"""SePH: codes learned from labels alone, then predicted from each view; its k-means variant, SePH_km.

Semantics-preserving hashing (Lin, Ding, Hu and Wang, CVPR 2015). Step one makes codes of the training items
(:mod:`hashret.hashers.neighbour_codes`), step two regresses each bit on each view's vectors
(:mod:`hashret.hashers.kernel_logistic`). Papers rank the codes of step one where the database is the training set:
they have seen its labels, and a table has to say so.
"""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted

from hashret.codes import Codes, binarize
from hashret.errors import InputError
from hashret.hashers.canonical import check_pairs
from hashret.hashers.hasher import PairHasher, Side
from hashret.hashers.kernel_logistic import Anchors, find_anchors, logistic_weights
from hashret.hashers.labels import label_rows
from hashret.hashers.neighbour_codes import learned_codes
from hashret.hashers.parameters import check_number, check_whole
from hashret.hashers.vectors import check_rows, matrix

__all__ = ["SePH"]

Matrix = NDArray[np.float64]

_ROWS = 4096  # whose kernel stands in memory at a time


class SePH(PairHasher):
    """Codes of two modalities by semantics-preserving hashing.

    Step one: P ~ cosine of labels, Q ~ 1 / (1 + Hamming distance) over pairs of training items; relaxed codes H make
    KL(P || Q) + alpha / (N bits) | |H| - 1 |^2 small, and their signs are the learned codes. Step two, for each view
    and bit k: weights w of kernel features f(x) = exp(-|x - anchor|^2 / (2 s)) that make
    mean log(1 + exp(-h_k w . f)) + penalty |w|^2 small. A bit of one view is set where w . f(x) > 0, which is where its
    probability is greater than 1/2. Of both views, where the product of the probabilities is greater than that of their
    complements: where the sum of the two w . f is above 0.

    What the paper leaves open: descent is L-BFGS (no step to choose); s is the mean squared distance between vectors
    and anchors; the penalty is by value, not by cross-validation. It learns codes of 5,000 items where there are more,
    since P is items by items: ``items``, drawn by the seed; the rest get the fused codes of their two views.

    Args:
        bits: Width of a code.
        alpha: Weight of the distance to the corners of the cube; 0.01 in the paper.
        anchors: Centres of k-means a view; 500 in the paper (fewer where a view has fewer different vectors).
        penalty: Of the regression, >= 0.
        iterations: Of either descent, at most.
        items: Training items whose codes are learned, at most.
        seed: Of the start, the anchors and the items.

    Attributes:
        training_codes_: Codes of the fitted pairs, one a pair, as learned in step one.
        image_anchors_, text_anchors_: float64 (anchors, D).
        image_scale_, text_scale_: s of each view.
        image_weights_, text_weights_: float64 (anchors + 1, bits), the bias last.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> labels = rng.integers(0, 2, 60)
        >>> x = labels[:, None] + 0.1 * rng.normal(size=(60, 3))
        >>> hasher = SePH(bits=8, anchors=10).fit(x, -x, labels)
        >>> a = hasher.transform(x, side="image").unpack()
        >>> bool((a == hasher.training_codes_.unpack()).mean() > 0.95)
        True
    """

    name: ClassVar[str] = "seph"
    inputs: ClassVar[tuple[str, ...]] = ("images", "texts", "labels")
    learned: ClassVar[tuple[str, ...]] = (
        "training_codes_", "image_anchors_", "text_anchors_", "image_scale_", "text_scale_", "image_weights_",
        "text_weights_",
    )  # fmt: skip
    training_codes_: Codes

    def __init__(
        self,
        bits: int = 64,
        *,
        alpha: float = 0.01,
        anchors: int = 500,
        penalty: float = 1e-4,
        iterations: int = 200,
        items: int = 5000,
        seed: int = 0,
    ) -> None:
        """Keep the parameters; they are checked by :meth:`fit`, as scikit-learn asks."""
        self.bits = bits
        self.alpha = alpha
        self.anchors = anchors
        self.penalty = penalty
        self.iterations = iterations
        self.items = items
        self.seed = seed

    def fit(self, images: ArrayLike, texts: ArrayLike, labels: ArrayLike) -> Self:
        """Learn codes from the labels and how to predict them from the vectors.

        Args:
            images: Real vectors (N, Dx); row i belongs to row i of ``texts`` and of ``labels``.
            texts: Real vectors (N, Dy).
            labels: Multi-hot (N, C), or class numbers (N,).

        Raises:
            InputError: A parameter out of range, not two-dimensional, fewer than two pairs, different numbers of rows,
                vectors that are all the same, an item without a label, or no two items that share one.
            WidthError: Other numbers of labels than pairs.
            NonFiniteError: NaN or infinity.
        """
        x, y = (np.asarray(matrix(v, n), np.float64) for v, n in ((images, "images"), (texts, "texts")))
        check_pairs(x, y)
        marks = label_rows(labels, len(x))
        bits, iterations = check_whole("bits", self.bits, 1), check_whole("iterations", self.iterations, 1)
        alpha, penalty = check_number("alpha", self.alpha, least=0), check_number("penalty", self.penalty, least=0)
        count, most = check_whole("anchors", self.anchors, 1), check_whole("items", self.items, 2)
        rng = np.random.default_rng(check_whole("seed", self.seed, 0))
        chosen = np.arange(len(x)) if len(x) <= most else np.sort(rng.permutation(len(x))[:most])
        _check_alike(marks[chosen])
        codes = learned_codes(marks[chosen], bits, alpha=alpha, iterations=iterations, rng=rng)
        targets = np.where(codes, 1.0, -1.0)
        for side, vectors in (("image", x), ("text", y)):
            anchors = find_anchors(vectors[chosen], count, rng)
            weights = logistic_weights(anchors.features(vectors[chosen]), targets, penalty, iterations)
            found = {"anchors_": anchors.points, "scale_": anchors.scale, "weights_": weights}
            for name, value in found.items():
                setattr(self, f"{side}_{name}", value)
        packed = self.transform_pairs(x, y).packed if len(chosen) < len(x) else np.empty((len(x), -(-bits // 8)), "u1")
        packed[chosen] = np.packbits(codes, axis=1)
        self.training_codes_ = Codes(packed, bits)
        return self

    def width(self, side: Side) -> int:
        """Columns of the vectors of a side."""
        return int(getattr(self, f"{side}_anchors_").shape[1])

    def coded(self, vectors: NDArray[Any], side: Side) -> Codes:
        """Codes of vectors of the right width; users call :meth:`transform`."""
        check_rows(vectors, f"{side} vectors")
        return binarize(self._odds({side: vectors}))

    def transform_pairs(self, images: ArrayLike, texts: ArrayLike) -> Codes:
        """Turn items that have both views into one code each, the probabilities of the views multiplied.

        Args:
            images: Real vectors (N, Dx); row i belongs to row i of ``texts``.
            texts: Real vectors (N, Dy).

        Raises:
            NotFittedError: :meth:`fit` was not called (of scikit-learn).
            InputError: Vectors that are not two-dimensional, or different numbers of rows.
            WidthError: Vectors of another width.
            NonFiniteError: NaN or infinity.
        """
        check_is_fitted(self, "text_weights_")
        x = matrix(images, "image vectors", width=self.width("image"))
        y = matrix(texts, "text vectors", width=self.width("text"))
        if len(x) != len(y):
            raise InputError(
                "pairs", expected="as many images as texts", got=f"{len(x)} images and {len(y)} texts",
                remedy="Give row i of both sides the same item.",
            )  # fmt: skip
        return binarize(self._odds({"image": x, "text": y}))

    def _odds(self, views: dict[Side, NDArray[Any]]) -> Matrix:
        """Log of probability over its complement that a bit is set, of the views together, float64 (N, bits).

        A row with a value so near to 0 that rounding may turn its sign is computed by itself, whatever its batch.
        """
        values, doubts = zip(*(self._log_odds(vectors, side) for side, vectors in views.items()), strict=True)
        odds = np.asarray(sum(values))
        if len(odds) > 1:
            for row in np.flatnonzero((np.abs(odds) <= sum(doubts)).any(1)):
                odds[row] = sum(self._log_odds(vectors[row : row + 1], side)[0][0] for side, vectors in views.items())
        return odds

    def _log_odds(self, vectors: NDArray[Any], side: Side) -> tuple[Matrix, Matrix]:
        """The same of one view, and what rounding may have added to a row's, (N, 1)."""
        anchors = Anchors(getattr(self, f"{side}_anchors_"), getattr(self, f"{side}_scale_"))
        weights = getattr(self, f"{side}_weights_")
        odds, squares = np.empty((len(vectors), weights.shape[1])), np.empty((len(vectors), 1))
        for start in range(0, len(vectors), _ROWS):
            rows = slice(start, start + _ROWS)
            odds[rows] = anchors.features(vectors[rows]) @ weights
            squares[rows, 0] = (np.asarray(vectors[rows], np.float64) ** 2).sum(1)
        reach = (squares + (anchors.points**2).sum(1).max()) / anchors.scale
        unit = (len(weights) + vectors.shape[1]) * np.finfo(np.float64).eps
        return odds, unit * (1 + reach) * np.abs(weights).sum(0).max()


def _check_alike(marks: Matrix) -> None:
    """Refuse items of which no two share a label: there is no affinity to follow."""
    if (marks.sum(0) ** 2).sum() - (marks**2).sum() <= 1e-12:
        raise InputError(
            "labels", expected="some two items that share a label", got=f"none of {len(marks)}",
            remedy="Check that each column is a class, not an item.",
        )  # fmt: skip
