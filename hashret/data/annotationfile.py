"""read_json: an annotation file of hundreds of megabytes, of which a dataset needs a few keys.

Official annotation files hold outlines, tokens and licences that nobody here looks at, and as Python objects they take
ten times their size. What is not asked for is dropped while it is parsed. Keys and values are not judged here.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

from hashret.errors import FileError, FormatError

__all__ = ["read_json"]


def read_json(path: str | os.PathLike[str], keep: Collection[str]) -> Any:
    """Read a JSON file, without the keys that are of no use.

    Args:
        path: The file, UTF-8.
        keep: Keys of objects, at any depth, that are kept.

    Raises:
        FileError: There is no such file.
        FormatError: It is no JSON, or only the beginning of one.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "a.json")
        >>> _ = path.write_text('{"images": [{"id": 3, "segmentation": [0, 1]}]}')
        >>> read_json(path, {"images", "id"})
        {'images': [{'id': 3}]}
    """
    kept, path = frozenset(keep), Path(path)

    def prune(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        return {key: value for key, value in pairs if key in kept}

    try:
        return json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=prune)
    except OSError as error:
        got = error.strerror or str(error)
        raise FileError(str(path), expected="a file", got=got, remedy="Check the path.") from error
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        got = f"no JSON ({str(error)[:90]}) in {path.stat().st_size:,} bytes"
        raise FormatError(
            str(path), expected="a whole JSON file", got=got, remedy="It is cut short or damaged: take it again."
        ) from error
