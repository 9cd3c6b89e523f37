"""HASHERS: embeddings you already have -> Codes, as scikit-learn estimators.

Some know one modality, ``fit(vectors)`` and ``transform(vectors)``; others are fitted on paired vectors of two,
``fit(images, texts)`` or ``fit(images, texts, labels)``, and then turn vectors of either into codes that can be
compared with each other, ``transform(vectors, side="image" | "text")``. All can be saved, and :func:`load_hasher` reads
any. No encoder is trained here, and nothing needs torch.
"""

from __future__ import annotations

import os
from typing import Any

from hashret.hashers.cca_itq import CCAITQ
from hashret.hashers.cca_sign import CCASign
from hashret.hashers.hasherfile import read_hasher
from hashret.hashers.itq import ITQ
from hashret.hashers.lsh import LSH
from hashret.hashers.pca_sign import PCASign
from hashret.hashers.scm import SCM
from hashret.hashers.seph import SePH

__all__ = ["CCAITQ", "HASHERS", "ITQ", "LSH", "SCM", "CCASign", "PCASign", "SePH", "load_hasher"]

HASHERS: dict[str, type[Any]] = {kind.name: kind for kind in (LSH, PCASign, ITQ, CCASign, CCAITQ, SCM, SePH)}


def load_hasher(path: str | os.PathLike[str]) -> Any:
    """Read any hasher that its ``save`` wrote.

    Raises:
        FileError: There is no such file.
        FormatError: It holds no hasher, or one that is not known here, is truncated or was changed.

    Example:
        >>> import tempfile
        >>> path = tempfile.mkdtemp() + "/hasher"
        >>> LSH(bits=8).fit([[1.0, 2.0]]).save(path)
        >>> load_hasher(path)
        LSH(bits=8)
    """
    return read_hasher(path, HASHERS)
