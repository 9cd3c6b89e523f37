"""HASHERS: embeddings you already have -> Codes, as scikit-learn estimators.

Each is fitted on paired vectors of two modalities, ``fit(images, texts)``, and then turns vectors of either into codes
that can be compared with each other, ``transform(vectors, side="image" | "text")``. No encoder is trained here, and
nothing needs torch.
"""

from __future__ import annotations

from hashret.hashers.cca_sign import CCASign

__all__ = ["HASHERS", "CCASign"]

HASHERS: dict[str, type[CCASign]] = {"cca_sign": CCASign}
