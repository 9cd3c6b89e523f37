"""create_app: the service behind HTTP: routes, guard, the page's files, and one form for everything that is refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

from hashret.errors import HashretError
from hashret.serve.api import router
from hashret.serve.guard import Guard
from hashret.serve.problems import Problem, problem_of, status_of
from hashret.serve.service import Service

__all__ = ["create_app"]

_PAGE = Path(__file__).parent / "page"
_WHAT = "Images and texts by exact Hamming distance between their codes. `/` is a page to search with."


def create_app(
    service: Service,
    *,
    token: str = "",
    hosts: Iterable[str] | None = None,
    on_failure: Callable[[], None] = lambda: None,
) -> FastAPI:
    """An ASGI application that loads the service when it starts.

    Args:
        service: What answers.
        token: What requests must carry as ``Authorization: Bearer TOKEN``; "" for none.
        hosts: Names of this server in ``Host``; None answers to any.
        on_failure: Called when the service cannot be loaded.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        loading = asyncio.create_task(service.start(on_failure))
        yield
        await service.stop()
        await loading

    app = FastAPI(
        title="hashret", version=version("hashret"), description=_WHAT, lifespan=lifespan, docs_url=None, redoc_url=None
    )
    app.state.service = service
    app.include_router(router)
    app.add_middleware(Guard, limits=service.limits, metrics=service.metrics, token=token, hosts=hosts)
    app.mount("/page", StaticFiles(directory=_PAGE), name="page")
    app.add_api_route("/", _index, include_in_schema=False)
    app.add_exception_handler(HashretError, _named)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _refused)
    return app


async def _index() -> FileResponse:
    return FileResponse(_PAGE / "index.html", headers={"Cache-Control": "no-cache"})


async def _named(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HashretError)
    status = status_of(error)
    headers = {"Retry-After": "1"} if status == 503 else None
    return JSONResponse(problem_of(error).model_dump(), status, headers)


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    place = " ".join(str(part) for part in first["loc"][1:])
    return _told(422, f"{place}: {first['msg']}" if place else str(first["msg"]))


async def _refused(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    return _told(error.status_code, str(error.detail))


def _told(status: int, detail: str) -> JSONResponse:
    return JSONResponse(Problem(detail=detail, remedy="The API is described in /openapi.json.").model_dump(), status)
