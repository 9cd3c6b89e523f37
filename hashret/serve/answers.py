"""What the API answers, as pydantic models: the schema in /openapi.json is made of these."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, Field

from hashret.catalogue import Item
from hashret.serve.filters import Choices, Column
from hashret.serve.gallery import Gallery, Side
from hashret.serve.limits import MOST_ANSWERS, MOST_CANDIDATES, MOST_LETTERS, Limits
from hashret.serve.query import Found, ItemId
from hashret.serve.uploads import KINDS

__all__ = ["About", "Code", "Health", "Hit", "SearchAnswer", "Shown", "about_gallery", "about_limits", "shown"]

_LABELS = ("labels", "label", "tags")


class Health(BaseModel):
    """Whether the server can answer."""

    state: Literal["loading", "ready", "failed", "stopping"]


class Shown(BaseModel):
    """A gallery item."""

    id: str = Field(examples=["i17"])
    key: str = Field(description="What its source calls it.", examples=["1000268201_693b08cb0e.jpg"])
    text: str = Field("", description="Its text, or the caption of its picture.", examples=["a dog runs through snow"])
    labels: list[str] = Field(default_factory=list, examples=[["dog", "snow"]])
    columns: dict[str, Any] = Field(default_factory=dict, description="What else its source says of it.")
    picture: str | None = Field(None, description="Where its picture is served.", examples=["/items/i17/picture"])
    code: str = Field(description="Its code, packed bits as hexadecimal digits.", examples=["8f3ac0d1520e77b4"])


class Hit(Shown):
    """One answer."""

    distance: int = Field(description="Hamming distance to the query.", examples=[9])
    score: float | None = Field(None, description="Cosine to the query, after a second look.")


class SearchAnswer(BaseModel):
    """The answers of a search, nearest first."""

    side: Side
    bits: int = Field(examples=[64])
    code: str = Field(description="The query's code, as the items' are.")
    searched: int = Field(description="Items that passed the filters.", examples=[7000])
    milliseconds: dict[str, float] = Field(examples=[{"encoding": 21.4, "search": 0.6}])
    hits: list[Hit]

    @classmethod
    def of(cls, found: Found) -> SearchAnswer:
        """What was found, as it is sent."""
        gallery = found.gallery
        codes = gallery.codes([answer.number for answer in found.answers])
        hits = []
        for answer, packed in zip(found.answers, codes.packed, strict=True):
            base = shown(gallery, answer.number, packed.tobytes().hex()).model_dump()
            hits.append(Hit(**base, distance=answer.distance, score=answer.score))
        return cls(
            side=gallery.side,
            bits=found.code.bits,
            code=found.code.packed.tobytes().hex(),
            searched=found.searched,
            milliseconds={name: round(took * 1000, 2) for name, took in found.seconds.items()},
            hits=hits,
        )


class Code(BaseModel):
    """The code of a query."""

    code: str = Field(description="Packed bits, the first bit first, as hexadecimal digits.", examples=["8f3ac0d1"])
    bits: int = Field(examples=[32])
    milliseconds: float = Field(description="What encoding took, standing in line included.", examples=[21.4])


class ValueCount(BaseModel):
    """A value of a column, and how many items have it."""

    value: str
    items: int


class AboutColumn(BaseModel):
    """A column that answers can be filtered by: of few values, or of numbers between two ends."""

    name: str
    values: list[ValueCount] | None = None
    low: float | None = None
    high: float | None = None


class AboutGallery(BaseModel):
    """A gallery that can be searched."""

    side: Side
    items: int
    second_look: bool = Field(description="Whether embeddings lie beside the codes.")
    columns: list[AboutColumn]
    samples: list[Shown] = Field(description="A few items, evenly spaced.")


class AboutLimits(BaseModel):
    """What a request may take."""

    body: int = Field(description="Bytes.")
    pixels: int
    seconds: float
    letters: int
    answers: int
    candidates: int
    kinds: list[str] = Field(description="Media types of images that are taken.")


class About(BaseModel):
    """What is served."""

    version: str
    method: str = Field(examples=["CRCGS"])
    bits: int = Field(examples=[64])
    composes: bool = Field(description="Whether an image and a text together are a query.")
    galleries: list[AboutGallery]
    limits: AboutLimits


def shown(gallery: Gallery, number: int, code: str) -> Shown:
    """An item as the API shows it.

    Raises:
        MissingItemError: There is no such item.
    """
    item = gallery.item(number)
    name = str(ItemId(gallery.side, number))
    picture = f"/items/{name}/picture" if gallery.picture(number) is not None else None
    labels = _labels(item)
    columns = {key: value for key, value in item.columns.items() if key not in _LABELS}
    return Shown(
        id=name, key=item.key, text=item.text, labels=labels, columns=columns, picture=picture, code=code
    )  # fmt: skip


def _labels(item: Item) -> list[str]:
    found: Any = next((item.columns[name] for name in _LABELS if name in item.columns), [])
    return [str(label) for label in (found if isinstance(found, list) else [found]) if label is not None]


def about_gallery(gallery: Gallery) -> AboutGallery:
    """What a person has to know to search a gallery."""
    samples = gallery.samples()
    codes = gallery.codes(samples).packed
    return AboutGallery(
        side=gallery.side,
        items=len(gallery),
        second_look=gallery.embeddings is not None,
        columns=[_about_column(column) for column in gallery.columns],
        samples=[shown(gallery, number, code.tobytes().hex()) for number, code in zip(samples, codes, strict=True)],
    )


def about_limits(limits: Limits) -> AboutLimits:
    """The limits as the API tells them."""
    kinds: Sequence[str] = tuple(KINDS.values())
    return AboutLimits(
        body=limits.body, pixels=limits.pixels, seconds=limits.seconds, letters=MOST_LETTERS, answers=MOST_ANSWERS,
        candidates=MOST_CANDIDATES, kinds=list(kinds),
    )  # fmt: skip


def _about_column(column: Column) -> AboutColumn:
    if isinstance(column, Choices):
        values = [ValueCount(value=value, items=len(rows)) for value, rows in column.rows.items()]
        return AboutColumn(name=column.name, values=values)
    low, high = column.ends
    return AboutColumn(name=column.name, low=low, high=high)
