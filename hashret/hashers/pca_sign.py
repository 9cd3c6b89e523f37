"""PCASign: signs of principal components, the simplest codes that look at the data.

Bit k says on which side of the mean a vector lies along the direction of the k-th largest variance (PCA hashing, as
Wang, Kumar and Chang, CVPR 2010 take it without labels). The first bits carry most of the variance and all count the
same, which is what ITQ mends.
"""

from __future__ import annotations

from typing import ClassVar, Self

from numpy.typing import ArrayLike

from hashret.hashers.hasher import VectorHasher
from hashret.hashers.parameters import check_whole
from hashret.hashers.principal import principal_directions
from hashret.hashers.vectors import fitted_vectors

__all__ = ["PCASign"]


class PCASign(VectorHasher):
    """Codes of vectors from the signs of their principal components.

    Bit k is set where (x - mean) . w_k > 0, w_k the k-th eigenvector of the covariance, its largest coefficient
    positive. A direction without variance gives a bit that is never set.

    Args:
        bits: Width of a code, 1 ... D.

    Attributes:
        weights_: The eigenvectors, float64 (D, bits), unit length or 0.
        offsets_: mean . w_k, float64 (bits,).
        mean_: float64 (D,).
        variances_: Of the components, float64 (bits,), descending.

    Example:
        >>> PCASign(bits=1).fit([[0, 5], [1, 5], [8, 5]]).transform([[2, 0], [4, 0]]).unpack().tolist()
        [[-1], [1]]
    """

    name: ClassVar[str] = "pca_sign"
    learned: ClassVar[tuple[str, ...]] = ("weights_", "offsets_", "mean_", "variances_")

    def __init__(self, bits: int = 64) -> None:
        """Keep the parameters; they are checked by :meth:`fit`, as scikit-learn asks."""
        self.bits = bits

    def fit(self, X: ArrayLike, y: object = None) -> Self:  # noqa: N803
        """Learn the directions from vectors (N, D), N >= 2.

        Raises:
            InputError: More bits than columns, or vectors that are no real matrix of two rows.
            NonFiniteError: NaN or infinity.
        """
        vectors = fitted_vectors(self, X, least=2)
        width = vectors.shape[1]
        bits = check_whole(
            "bits", self.bits, 1, width, why=f"A bit takes a direction of {width}: use fewer bits, or hasher lsh."
        )
        self.mean_, self.weights_, self.variances_ = principal_directions(vectors, bits)
        self.offsets_ = self.mean_ @ self.weights_
        return self
