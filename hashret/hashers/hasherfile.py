"""The file of a hasher: its name, parameters and what it learned, in the container of :mod:`hashret.arrayfile`.

Version 1 (``hashret.hasher/1``) holds the learned arrays under their names; learned codes as their packed rows; and in
its JSON metadata ``hasher`` (the key in HASHERS), ``parameters``, ``values`` (learned numbers and names of columns),
``codes`` (bits of learned codes). Nothing is pickled, so that a file of somebody else can be opened. What a version
holds is never changed.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from hashret.arrayfile import read_arrays, write_arrays
from hashret.codes import Codes
from hashret.errors import FormatError, InputError

if TYPE_CHECKING:
    from hashret.hashers.hasher import Hasher

__all__ = ["read_hasher", "write_hasher"]

KIND = "hashret.hasher/1"
_BY_SCIKIT_LEARN = ("n_features_in_", "feature_names_in_")

AnyHasher = TypeVar("AnyHasher", bound="Hasher")


def write_hasher(path: str | os.PathLike[str], hasher: Hasher) -> None:
    """Write a fitted hasher, atomically; the same state gives the same bytes.

    Raises:
        FileError: The place cannot be written.
    """
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    values: dict[str, Any] = {}
    codes: dict[str, int] = {}
    for name in (*hasher.learned, *(name for name in _BY_SCIKIT_LEARN if hasattr(hasher, name))):
        value = getattr(hasher, name)
        if isinstance(value, Codes):
            arrays[name], codes[name] = value.packed, value.bits
        elif isinstance(value, np.ndarray) and value.dtype.kind in "fiub":
            arrays[name] = value
        else:
            values[name] = _plain(value)
    parameters = {name: _plain(value) for name, value in sorted(hasher.get_params(deep=False).items())}
    about = {"hasher": hasher.name, "parameters": parameters, "values": values, "codes": codes}
    write_arrays(path, arrays, kind=KIND, metadata=about)


def read_hasher(path: str | os.PathLike[str], known: Mapping[str, type[AnyHasher]]) -> AnyHasher:
    """Read a hasher that :func:`write_hasher` wrote.

    Args:
        path: The file.
        known: Names and classes that will do.

    Raises:
        FileError: There is no such file.
        FormatError: It holds no hasher or one that is not known, is truncated or was changed, or its parts do not fit.
    """
    arrays, about = read_arrays(path, kind=KIND)
    name = str(about.get("hasher"))
    if name not in known:
        raise FormatError(
            str(path), expected=f"a hasher that is one of {', '.join(known)}", got=repr(name),
            remedy="Name another file; one of a newer hashret needs that hashret.",
        )  # fmt: skip
    kind = known[name]
    try:
        parameters = {key: _tuple(value) for key, value in about["parameters"].items()}
        if set(parameters) != set(inspect.signature(kind).parameters):
            raise KeyError(f"parameters {', '.join(parameters)}")
        hasher = kind(**parameters)
        learned = arrays | about["values"]
        learned |= {key: Codes(arrays[key], bits) for key, bits in about["codes"].items()}
        if set(learned) - set(_BY_SCIKIT_LEARN) != set(kind.learned):
            raise KeyError(f"learned {', '.join(learned)}")
    except (AttributeError, KeyError, TypeError, InputError) as error:
        raise FormatError(
            str(path), expected=f"what a fitted {name} is made of", got=str(error),
            remedy="Fit it again; a file of another hashret may need that hashret.",
        ) from error  # fmt: skip
    for key, value in learned.items():
        setattr(hasher, key, np.array(value, object) if key == "feature_names_in_" else value)
    return hasher


def _plain(value: Any) -> Any:
    """What JSON can hold."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    return [_plain(part) for part in value] if isinstance(value, (tuple, list)) else value


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
