"""Every mistake a user can make, by name; nothing here knows how to print itself on a terminal.

The tree::

    HashretError
    ├── InputError             a value handed to a function is not what it takes (also a ValueError)
    │   ├── WidthError         codes, vectors or label rows of different widths meet
    │   ├── NonFiniteError     NaN or infinity where a number is needed
    │   ├── ImageError         an image that cannot be decoded, or is none
    │   └── TextError          an empty text, or something that is no text
    ├── FileError              a file or folder is missing, truncated, damaged or of another kind
    │   └── FormatError        the bytes are there but are not this format, this version, or were changed
    ├── DataError              a dataset whose parts contradict each other or do not suffice
    │   └── DataFileError      a dataset's own file is missing, damaged or of another form (also a FileError)
    ├── RecipeError            keys or values of a recipe; all of them at once, each with its key path
    ├── StoreError             a store that is closed, cannot be reached, or whose engine is not installed
    └── TrainingError          a training run that cannot start, continue or converge

Each names what was expected, what came, and what to do; :mod:`hashret.cli` turns them into one line and exit code 1.
"""

from __future__ import annotations

__all__ = [
    "DataError",
    "DataFileError",
    "FileError",
    "FormatError",
    "HashretError",
    "ImageError",
    "InputError",
    "NonFiniteError",
    "RecipeError",
    "StoreError",
    "TextError",
    "TrainingError",
    "WidthError",
]


class HashretError(Exception):
    """What went wrong, in one line with its remedy.

    Args:
        what: The thing that is wrong: an argument, a file, a key.
        expected: What it should have been.
        got: What it was.
        remedy: What the user can do now.

    Example:
        >>> print(WidthError("queries", expected="64 bits", got="32 bits", remedy="Encode both sides with one run."))
        queries: expected 64 bits, got 32 bits. Encode both sides with one run.
    """

    def __init__(self, what: str, *, expected: str = "", got: str = "", remedy: str = "") -> None:
        """Join the parts into the message."""
        self.what, self.expected, self.got, self.remedy = what, expected, got, remedy
        middle = f": expected {expected}, got {got}." if expected else ""
        super().__init__(f"{what}{middle}{' ' + remedy if remedy else ''}")

    def __reduce__(self) -> tuple[object, ...]:
        """Survive the trip out of a worker process."""
        state = {"what": self.what, "expected": self.expected, "got": self.got, "remedy": self.remedy}
        return (_rebuild, (type(self), state))


def _rebuild(kind: type[HashretError], parts: dict[str, str]) -> HashretError:
    return kind(**parts)


class InputError(HashretError, ValueError):
    """A value handed to a function is not what it takes."""


class WidthError(InputError):
    """Codes, vectors or label rows of different widths meet."""


class NonFiniteError(InputError):
    """NaN or infinity where a number is needed."""


class ImageError(InputError):
    """An image that cannot be decoded, or is none."""


class TextError(InputError):
    """An empty text, or something that is no text."""


class FileError(HashretError):
    """A file or folder is missing, truncated, damaged or of another kind."""


class FormatError(FileError):
    """The bytes are there but are not this format, this version, or were changed."""


class DataError(HashretError):
    """A dataset whose parts contradict each other or do not suffice."""


class DataFileError(DataError, FileError):
    """A dataset's own file is missing, damaged or of another form."""


class RecipeError(HashretError):
    """Keys or values of a recipe, all of them at once, each with its key path."""


class StoreError(HashretError):
    """A store that is closed, cannot be reached, or whose engine is not installed."""


class TrainingError(HashretError):
    """A training run that cannot start, continue or converge."""
