"""Asked and Found: one search as it is asked, and what came of it; no network and no event loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from hashret.codes import Codes
from hashret.errors import InputError
from hashret.search import Hits, Scored
from hashret.serve.encoder import Encoder
from hashret.serve.gallery import Gallery, Side

__all__ = ["Answer", "Asked", "Found", "ItemId", "answers_of", "check_asked"]


@dataclass(frozen=True)
class ItemId:
    """The name of an item in requests: "i17" is image 17, "t17" text 17.

    Example:
        >>> ItemId.read("i17"), str(ItemId("text", 3))
        (ItemId(side='image', number=17), 't3')
    """

    side: Side
    number: int

    @classmethod
    def read(cls, text: str) -> ItemId:
        """Read what was checked against ``[it][0-9]{1,18}``."""
        return cls("image" if text[0] == "i" else "text", int(text[1:]))

    def __str__(self) -> str:
        """As requests name it."""
        return f"{self.side[0]}{self.number}"


@dataclass(frozen=True)
class Asked:
    """One search.

    Attributes:
        text: A sentence; with a picture what is to be changed in it.
        item: A gallery item as the picture, or as the whole query.
        upload: The bytes of a picture and the media type they were sent under.
        side: Which gallery answers; None for the first.
        k: Answers.
        shortlist: Candidates that are put in order by their embeddings; 0 for none.
        where: Filters; see :func:`hashret.serve.filters.mask_of`.
    """

    text: str | None = None
    item: ItemId | None = None
    upload: tuple[bytes, str] | None = None
    side: Side | None = None
    k: int = 24
    shortlist: int = 0
    where: tuple[str, ...] = ()


class Answer(NamedTuple):
    """One answer: the id, its Hamming distance and, after a second look, its score (cosine)."""

    number: int
    distance: int
    score: float | None


@dataclass(frozen=True, eq=False)
class Found:
    """The answers of one search.

    Attributes:
        gallery: Where they are from.
        code: The query's code.
        answers: By (distance, id) or, after a second look, by (score, id).
        searched: Items that passed the filters.
        seconds: What "encoding", "search" and "second_look" took.
    """

    gallery: Gallery
    code: Codes
    answers: Sequence[Answer]
    searched: int
    seconds: Mapping[str, float]


def answers_of(hits: Hits, scored: Scored | None = None) -> list[Answer]:
    """The answers of one query, in the order of the second look if there was one; padding is left out.

    Example:
        >>> import numpy as np
        >>> answers_of(Hits(np.array([[2, 2147483647]], np.int32), np.array([[5, -1]])))
        [Answer(number=5, distance=2, score=None)]
    """
    distances = {int(number): int(far) for far, number in zip(hits.distances[0], hits.ids[0], strict=True)}
    distances.pop(-1, None)
    if scored is None:
        return [Answer(number, far, None) for number, far in distances.items()]
    pairs = zip(scored.ids[0].tolist(), scored.scores[0].tolist(), strict=True)
    return [Answer(number, distances[number], score) for number, score in pairs if number >= 0]


def check_asked(asked: Asked, encoder: Encoder) -> None:
    """Refuse what the run cannot take.

    Raises:
        InputError: Nothing is asked, an upload beside an item, a composed query of a method that knows none, or a text
            of the gallery as a picture.
    """
    wanted, got = "", ""
    if asked.upload is not None and asked.item is not None:
        wanted, got = "an upload or an item", "both"
    elif asked.text is None and asked.upload is None and asked.item is None:
        wanted, got = "a text, a picture or an item", "nothing"
    elif asked.text is not None and (asked.upload or asked.item) and not encoder.composes:
        wanted, got = f"a text or a picture: {encoder.method} has no composed queries", "both"
    elif asked.text is not None and asked.item is not None and asked.item.side == "text":
        wanted, got = "an image to be changed by the text", f"item {asked.item}, a text"
    if wanted:
        raise InputError("query", expected=wanted, got=got, remedy="Leave one of them out." if got == "both" else
                         "Say what to search for.")  # fmt: skip
