"""What the server refuses, each with its HTTP status; every other mistake has its name in :mod:`hashret.errors`."""

from __future__ import annotations

from http import HTTPStatus

from pydantic import BaseModel, ConfigDict, Field

from hashret.errors import HashretError, InputError

__all__ = [
    "BusyError",
    "MissingItemError",
    "NotReadyError",
    "Problem",
    "TooLargeError",
    "UnknownKindError",
    "problem_of",
    "status_of",
]


class TooLargeError(InputError):
    """More bytes or pixels than the server takes."""


class UnknownKindError(InputError):
    """An upload that is no image of a known kind, or of another than it claims."""


class MissingItemError(InputError):
    """An id no gallery has, or an item without a picture."""


class NotReadyError(HashretError):
    """The model is still being loaded, or the server is about to stop."""


class BusyError(HashretError):
    """Too many queries wait, or one took too long."""


_STATUS = {
    TooLargeError: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    UnknownKindError: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    MissingItemError: HTTPStatus.NOT_FOUND,
    NotReadyError: HTTPStatus.SERVICE_UNAVAILABLE,
    BusyError: HTTPStatus.SERVICE_UNAVAILABLE,
}


class Problem(BaseModel):
    """Why a request was refused."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "detail": "image: expected JPEG, PNG, WebP, GIF or BMP, got bytes that are none of these.",
                    "remedy": "Is it a picture, and whole?",
                }
            ]
        }
    )

    detail: str = Field(description="What was expected and what came.")
    remedy: str = Field("", description="What can be done about it.")


def problem_of(error: HashretError) -> Problem:
    """The error as a person reads it, without its remedy in the same line.

    Example:
        >>> problem_of(BusyError("queue", expected="room", got="512 waiting", remedy="Ask again.")).remedy
        'Ask again.'
    """
    detail = str(error).removesuffix(error.remedy).strip()
    return Problem(detail=detail, remedy=error.remedy)


def status_of(error: HashretError) -> int:
    """The HTTP status of an error; 422 for an input that is wrong, 500 for what is not the asker's fault."""
    for kind, status in _STATUS.items():
        if isinstance(error, kind):
            return int(status)
    return int(HTTPStatus.UNPROCESSABLE_ENTITY if isinstance(error, InputError) else HTTPStatus.INTERNAL_SERVER_ERROR)
