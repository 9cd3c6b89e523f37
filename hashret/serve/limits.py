"""Limits: how much one request may ask of the server, so that no request can take it from the others."""

from __future__ import annotations

from dataclasses import dataclass

from hashret.errors import InputError

__all__ = ["MOST_ANSWERS", "MOST_CANDIDATES", "MOST_LETTERS", "Limits"]

MOST_ANSWERS = 200
MOST_CANDIDATES = 1_000
MOST_LETTERS = 2_000


@dataclass(frozen=True)
class Limits:
    """What a request may take.

    Attributes:
        body: Bytes of a request's body.
        pixels: Pixels of an uploaded image, counted before it is decoded.
        seconds: Time from the first byte of a request to its answer.
        waiting: Queries that may wait for the encoder; the next one is refused at once.

    Raises:
        InputError: One is not positive.

    Example:
        >>> Limits(pixels=1_000_000).body
        16777216
    """

    body: int = 16 << 20
    pixels: int = 32_000_000
    seconds: float = 30.0
    waiting: int = 512

    def __post_init__(self) -> None:
        """Check that each leaves something."""
        for name, value in vars(self).items():
            if not value > 0:
                raise InputError(f"limit {name}", expected="more than 0", got=str(value), remedy="Leave it out.")
