"""What every hasher is: a scikit-learn estimator that gives Codes and can be written to a file.

There are two kinds. A VectorHasher knows one modality, ``fit(vectors)`` and ``transform(vectors)``. A PairHasher is
fitted on paired vectors of two, and its codes of either can be compared, ``transform(vectors, side="image" | "text")``.
Learned state is whatever ``fit`` leaves in attributes that end in an underscore; nothing is pickled.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from hashret.codes import Codes
from hashret.errors import InputError
from hashret.hashers.hasherfile import read_hasher, write_hasher
from hashret.hashers.signs import signs
from hashret.hashers.vectors import matrix, new_vectors

__all__ = ["Hasher", "PairHasher", "VectorHasher"]

Matrix = NDArray[np.float64]
Side = Literal["image", "text"]


class Hasher(BaseEstimator, ABC):  # type: ignore[misc]
    """An estimator that gives Codes.

    Attributes:
        name: Its key in HASHERS.
        inputs: What ``fit`` takes: "vectors", or "images" and "texts", and "labels" where it is supervised.
        learned: Names of all that ``fit`` learns and a file keeps.
    """

    name: ClassVar[str]
    inputs: ClassVar[tuple[str, ...]]
    learned: ClassVar[tuple[str, ...]]
    bits: int

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted hasher as one safetensors file with JSON metadata, atomically.

        Raises:
            NotFittedError: It is not fitted (of scikit-learn).
            FileError: The place cannot be written.
        """
        check_is_fitted(self)
        write_hasher(path, self)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a hasher of this class that :meth:`save` wrote; ``load_hasher`` reads one of any.

        Raises:
            FileError: There is no such file.
            FormatError: It holds none, or another hasher, is truncated or was changed.
        """
        return read_hasher(path, {cls.name: cls})


class VectorHasher(TransformerMixin, Hasher):  # type: ignore[misc]
    """A hasher of one modality: the signs of an affine map.

    Attributes:
        weights_: float64 (D, bits).
        offsets_: float64 (bits,); bit k of x is set where x . weights_[:, k] > offsets_[k].
    """

    inputs: ClassVar[tuple[str, ...]] = ("vectors",)
    weights_: Matrix
    offsets_: Matrix

    @abstractmethod
    def fit(self, X: ArrayLike, y: object = None) -> Self:  # noqa: N803 (scikit-learn's own names)
        """Learn from vectors (N, D); ``y`` is not used, pipelines hand it over."""

    def transform(self, X: ArrayLike) -> Codes:  # noqa: N803
        """Turn vectors into codes.

        Args:
            X: Real vectors (N, D) as wide as those of :meth:`fit`; N may be 0.

        Returns:
            N codes of ``bits`` bits; the code of a vector does not depend on the others.

        Raises:
            NotFittedError: :meth:`fit` was not called (of scikit-learn).
            InputError: Vectors that are not two-dimensional.
            WidthError: Vectors of another width.
            NonFiniteError: NaN or infinity.
        """
        check_is_fitted(self)
        return signs(new_vectors(self, X), self.weights_, self.offsets_)

    def __sklearn_tags__(self) -> Any:
        """Codes are no array of floats, whatever dtype came in."""
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []
        return tags


class PairHasher(Hasher):
    """A hasher of two modalities."""

    inputs: ClassVar[tuple[str, ...]] = ("images", "texts")

    @abstractmethod
    def width(self, side: Side) -> int:
        """Columns of the vectors of a side."""

    @abstractmethod
    def coded(self, vectors: NDArray[Any], side: Side) -> Codes:
        """Codes of vectors whose shape and width are checked, not yet that they are finite.

        Users call :meth:`transform`.

        Raises:
            NonFiniteError: NaN or infinity, with the first such row.
        """

    def transform(self, vectors: ArrayLike, *, side: Side) -> Codes:
        """Turn vectors of one modality into codes.

        Args:
            vectors: Real vectors (N, D) as wide as those of this side in ``fit``; N may be 0.
            side: Which modality they are of.

        Returns:
            N codes of ``bits`` bits; the code of a vector does not depend on the others.

        Raises:
            NotFittedError: ``fit`` was not called (of scikit-learn).
            InputError: Another side, or vectors that are not two-dimensional.
            WidthError: Vectors of another width.
            NonFiniteError: NaN or infinity.
        """
        check_is_fitted(self)
        if side not in ("image", "text"):
            raise InputError("side", expected="'image' or 'text'", got=repr(side), remedy="Say which modality it is.")
        return self.coded(matrix(vectors, f"{side} vectors", width=self.width(side), finite=False), side)


class LinearPairHasher(PairHasher):
    """A hasher of two modalities by the signs of a centred linear map each.

    Attributes:
        image_mean_, text_mean_: float64 (D,).
        image_weights_, text_weights_: float64 (D, bits).
    """

    learned: ClassVar[tuple[str, ...]] = ("image_mean_", "text_mean_", "image_weights_", "text_weights_")
    image_mean_: Matrix
    text_mean_: Matrix
    image_weights_: Matrix
    text_weights_: Matrix

    def width(self, side: Side) -> int:
        """Columns of the vectors of a side."""
        return len(self.image_mean_ if side == "image" else self.text_mean_)

    def coded(self, vectors: NDArray[Any], side: Side) -> Codes:
        """Codes of vectors of the right width; users call :meth:`transform`."""
        image = side == "image"
        weights = self.image_weights_ if image else self.text_weights_
        return signs(vectors, weights, (self.image_mean_ if image else self.text_mean_) @ weights, f"{side} vectors")
