"""The routes: what is asked over HTTP, checked against its limits, as a search and back."""

from __future__ import annotations

import time
from importlib.metadata import version
from typing import Annotated, Any

from fastapi import APIRouter, Depends, File, Form, Path, Query, Request, Response, UploadFile

from hashret.errors import ImageError
from hashret.serve.answers import About, Code, Health, SearchAnswer, Shown, about_gallery, about_limits, shown
from hashret.serve.gallery import Side
from hashret.serve.limits import MOST_ANSWERS, MOST_CANDIDATES, MOST_LETTERS
from hashret.serve.metrics import CONTENT_TYPE
from hashret.serve.pictures import PictureSize, picture_of
from hashret.serve.problems import MissingItemError, Problem
from hashret.serve.query import Asked, ItemId
from hashret.serve.service import Service, existing_picture

__all__ = ["router"]

_REFUSED: dict[int | str, dict[str, Any]] = {
    401: {"model": Problem, "description": "A token is needed."},
    404: {"model": Problem, "description": "No such item or gallery."},
    413: {"model": Problem, "description": "More bytes or pixels than are taken."},
    415: {"model": Problem, "description": "No image of a known kind, or of another than it claims."},
    422: {"model": Problem, "description": "Something is wrong with the request."},
    503: {"model": Problem, "description": "The model is being loaded, or too many queries wait."},
}

router = APIRouter(responses=_REFUSED)

_TEXT: dict[str, Any] = {"description": "A sentence; beside an image, what is to be changed in it."}
_ITEM: dict[str, Any] = {
    "description": "A gallery item as the image or as the whole query.",
    "pattern": "^[it][0-9]{1,18}$",
}
_ID = "What a search called it."
_IMAGE = "A JPEG, PNG, WebP, GIF or BMP file."
_SIDE = "What answers; by default the first index."
_K: dict[str, Any] = {"ge": 1, "le": MOST_ANSWERS, "description": "Answers."}
_SHORTLIST: dict[str, Any] = {
    "ge": 0,
    "le": MOST_CANDIDATES,
    "description": "Candidates found by codes that a second look puts in the order of their embeddings; 0 for none.",
}
_WHERE: dict[str, Any] = {
    "max_length": 64,
    "description": "COLUMN:VALUE or COLUMN:LOW..HIGH; clauses of one column add up, those of several narrow.",
}
_TEXTS: dict[str, Any] = {
    "a sentence": {"value": "a dog runs through the snow"},
    "a change, beside an image": {"value": "the same in red"},
}


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


Served = Annotated[Service, Depends(_service)]
Item = Annotated[str, Path(pattern="^[it][0-9]{1,18}$", description=_ID, examples=["i17"])]


def _asked(
    text: str | None, item: str | None, side: Side | None, k: int, shortlist: int, where: list[str],
    upload: tuple[bytes, str] | None = None,
) -> Asked:  # fmt: skip
    read = ItemId.read(item) if item else None
    return Asked(text or None, read, upload, side, k, shortlist, tuple(where))


async def _uploaded(image: UploadFile | None) -> tuple[bytes, str] | None:
    return None if image is None else (await image.read(), image.content_type or "")


@router.get("/search", summary="Search by a text, by a gallery item, or by both")
async def search(
    service: Served,
    text: Annotated[str | None, Query(max_length=MOST_LETTERS, openapi_examples=_TEXTS, **_TEXT)] = None,
    item: Annotated[str | None, Query(examples=["i17"], **_ITEM)] = None,
    side: Annotated[Side | None, Query(description=_SIDE)] = None,
    k: Annotated[int, Query(**_K)] = 24,
    shortlist: Annotated[int, Query(**_SHORTLIST)] = 0,
    where: Annotated[list[str], Query(examples=[["labels:dog", "year:2000..2010"]], **_WHERE)] = [],  # noqa: B006
) -> SearchAnswer:
    """The k nearest items by Hamming distance, then by id; an item that is asked by is left out of its answers."""
    found = await service.search(_asked(text, item, side, k, shortlist, where))
    return await service.off_loop(lambda: SearchAnswer.of(found))


@router.post("/search", summary="Search by an uploaded image, alone or beside a text")
async def search_by_upload(
    service: Served,
    image: Annotated[UploadFile | None, File(description=_IMAGE)] = None,
    text: Annotated[str | None, Form(max_length=MOST_LETTERS, openapi_examples=_TEXTS, **_TEXT)] = None,
    item: Annotated[str | None, Form(examples=["i17"], **_ITEM)] = None,
    side: Annotated[Side | None, Form(description=_SIDE)] = None,
    k: Annotated[int, Form(**_K)] = 24,
    shortlist: Annotated[int, Form(**_SHORTLIST)] = 0,
    where: Annotated[list[str], Form(examples=[["labels:dog"]], **_WHERE)] = [],  # noqa: B006
) -> SearchAnswer:
    """As the other, with an image that is sent along; it is decoded, encoded and forgotten."""
    found = await service.search(_asked(text, item, side, k, shortlist, where, await _uploaded(image)))
    return await service.off_loop(lambda: SearchAnswer.of(found))


@router.post("/encode", summary="The code of a text, of an image, or of both")
async def encode(
    service: Served,
    image: Annotated[UploadFile | None, File(description=_IMAGE)] = None,
    text: Annotated[str | None, Form(max_length=MOST_LETTERS, openapi_examples=_TEXTS, **_TEXT)] = None,
) -> Code:
    """What ``hashret search`` would compare: packed bits, the first bit first."""
    begun = time.perf_counter()
    encoded = await service.encode(Asked(text or None, upload=await _uploaded(image)))
    took = round((time.perf_counter() - begun) * 1000, 2)
    return Code(code=encoded.code.packed.tobytes().hex(), bits=encoded.code.bits, milliseconds=took)


@router.get("/items/{id}", summary="One gallery item")
async def item(service: Served, id: Item) -> Shown:  # noqa: A002
    """Its name, text, columns and code."""
    name = ItemId.read(id)
    gallery = service.gallery(name.side)
    gallery.item(name.number)
    code = await service.off_loop(lambda: gallery.codes([name.number]))
    return shown(gallery, name.number, code.packed.tobytes().hex())


@router.get(
    "/items/{id}/picture",
    summary="The picture of a gallery item",
    response_class=Response,
    responses={200: {"content": {"image/jpeg": {}}, "description": "Drawn anew: pixels only, of bounded size."}},
)
async def picture(
    service: Served,
    id: Item,  # noqa: A002
    size: Annotated[PictureSize, Query(description="384 or 1280 pixels at most.")] = "small",
) -> Response:
    """A JPEG."""
    name = ItemId.read(id)
    place = existing_picture(service.gallery(name.side), name.number)
    try:
        content = await service.off_loop_pictures(lambda: picture_of(place, size))
    except ImageError as error:
        raise MissingItemError(
            "picture", expected="one that can be read", got=error.got, remedy="Put the file back in its place."
        ) from error
    return Response(content, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=3600"})


@router.get("/about", summary="What is served, and what it can be filtered by")
async def about(service: Served) -> About:
    """Method, width of the codes, galleries and limits."""
    encoder, galleries = service.encoder, service.galleries
    told = await service.off_loop(lambda: [about_gallery(gallery) for gallery in galleries.values()])
    return About(
        version=version("hashret"), method=encoder.method, bits=encoder.bits, composes=encoder.composes, galleries=told,
        limits=about_limits(service.limits),
    )  # fmt: skip


@router.get("/healthz", summary="Whether the server can answer", responses={503: {"model": Health}})
async def healthz(service: Served, response: Response) -> Health:
    """200 once the model is loaded, 503 before and after."""
    response.status_code = 200 if service.state == "ready" else 503
    return Health(state=service.state)


@router.get("/metrics", summary="Counters and times", response_class=Response,
            responses={200: {"content": {"text/plain": {}}}})  # fmt: skip
async def metrics(service: Served) -> Response:
    """In Prometheus's text form."""
    return Response(service.metrics.text(), headers={"Content-Type": CONTENT_TYPE})
