"""Service: the model, the galleries and the line before the encoder, from the first moment to the last.

It loads while the port already answers, and says truthfully which of the two it is. Encoding, searching and opening
pictures happen in threads, so that the event loop stays free to answer.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Literal, TypeVar

from PIL import Image

from hashret.errors import FormatError, HashretError, InputError
from hashret.images import open_image
from hashret.serve.batching import Batcher
from hashret.serve.encoder import Encoded, Encoder, Prepared
from hashret.serve.filters import mask_of
from hashret.serve.gallery import Gallery, Side
from hashret.serve.limits import Limits
from hashret.serve.metrics import Metrics
from hashret.serve.problems import MissingItemError, NotReadyError
from hashret.serve.query import Asked, Found, answers_of, check_asked
from hashret.serve.uploads import open_upload

__all__ = ["Service", "State", "existing_picture", "failure_of"]

State = Literal["loading", "ready", "failed", "stopping"]
T = TypeVar("T")


class Service:
    """A run and its galleries, being loaded, ready, or about to stop.

    Args:
        run: Run or model folder.
        indexes: Index files or addresses of stores, each of images or of texts; at most one of each.
        images: Folder of the pictures; None takes them from where the catalogue says.
        limits: What a request may take.
        device: Where the network runs; "auto" is the GPU where there is one.
    """

    def __init__(
        self,
        run: str | os.PathLike[str],
        indexes: Sequence[str | os.PathLike[str]],
        *,
        images: str | os.PathLike[str] | None = None,
        limits: Limits | None = None,
        device: str = "auto",
    ) -> None:
        """Note what to load."""
        self.limits, self.metrics = limits or Limits(), Metrics()
        self.failure: Exception | None = None
        self._run, self._indexes, self._images, self._device = run, tuple(indexes), images, device
        self._state: State = "loading"
        self._threads = ThreadPoolExecutor(max(2, min(8, os.cpu_count() or 2)), "hashret")
        self._pictures = ThreadPoolExecutor(max(2, min(8, os.cpu_count() or 2)), "pictures")
        self._encoder: Encoder | None = None
        self._galleries: dict[Side, Gallery] = {}
        self._line: Batcher[Prepared, Encoded] | None = None

    @property
    def state(self) -> State:
        """What it is doing."""
        return self._state

    async def start(self, on_failure: Callable[[], None]) -> None:
        """Load everything; afterwards it is ready, or ``on_failure`` is called and :attr:`failure` says why."""
        loop = asyncio.get_running_loop()
        try:
            encoder, galleries = await loop.run_in_executor(self._threads, self._load)
        except Exception as error:
            self.failure, self._state = error, "failed"
            on_failure()
            return
        if self._state != "loading":
            return
        self._encoder, self._galleries = encoder, galleries
        self._line = Batcher(
            encoder.encode, most=encoder.pass_size, room=self.limits.waiting, told=self.metrics.batches.observe
        )
        self._line.start()
        for side, gallery in galleries.items():
            self.metrics.items.labels(side).set(len(gallery))
        self.metrics.waiting.set_function(lambda: float(len(self._line or ())))
        self.metrics.ready.set(1)
        self._state = "ready"

    async def stop(self) -> None:
        """Finish what was begun, and let go of the threads."""
        self._state = "stopping"
        self.metrics.ready.set(0)
        if self._line is not None:
            await self._line.stop()
        for gallery in self._galleries.values():
            await self.off_loop(gallery.close)
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._pictures.shutdown(wait=False, cancel_futures=True)

    def _load(self) -> tuple[Encoder, dict[Side, Gallery]]:
        galleries: dict[Side, Gallery] = {}
        with ExitStack() as opened:
            for path in self._indexes:
                gallery = Gallery.open(path, self._images)
                opened.callback(gallery.close)
                if gallery.side in galleries:
                    raise InputError(
                        os.fspath(path), expected="one index of images and one of texts", got=f"two of {gallery.side}s",
                        remedy="Encode both sources into one index, or start a server for each.",
                    )  # fmt: skip
                galleries[gallery.side] = gallery
            encoder = self._load_encoder(galleries.values())
            for gallery in galleries.values():
                gallery.warm_up()
            opened.pop_all()
        return encoder, galleries

    def _load_encoder(self, galleries: Iterable[Gallery]) -> Encoder:
        """The run, which has to be the one whose codes the galleries hold."""
        from hashret.pipeline.train import device_named
        from hashret.retriever import Retriever

        retriever = Retriever.from_pretrained(self._run, device=device_named(self._device))
        for path, gallery in zip(self._indexes, galleries, strict=True):
            if gallery.catalogue.model != retriever.fingerprint():
                raise FormatError(
                    os.fspath(path), expected=f"codes of the model in {self._run}", got="codes of another model",
                    remedy="Serve it with the run it was encoded with, or encode and index again with this one.",
                )  # fmt: skip
        encoder = Encoder(retriever)
        encoder.warm_up()
        return encoder

    @property
    def encoder(self) -> Encoder:
        """The run.

        Raises:
            NotReadyError: It is not loaded yet.
        """
        if self._encoder is None or self._state != "ready":
            raise NotReadyError(
                "server", expected="a loaded model", got=f"one that is {self._state}",
                remedy="Ask again in a moment; /healthz tells when it is ready.",
            )  # fmt: skip
        return self._encoder

    @property
    def galleries(self) -> dict[Side, Gallery]:
        """What answers can be taken from, by side.

        Raises:
            NotReadyError: They are not loaded yet.
        """
        assert self.encoder is not None
        return self._galleries

    def gallery(self, side: Side | None) -> Gallery:
        """The gallery of a side, or the first.

        Raises:
            MissingItemError: There is none of this side.
        """
        galleries = self.galleries
        if side is not None and side not in galleries:
            raise MissingItemError(
                "gallery", expected=f"one of {', '.join(f'{name}s' for name in galleries)}", got=f"{side}s",
                remedy="Start the server with an index of these as well.",
            )  # fmt: skip
        return galleries[side] if side is not None else next(iter(galleries.values()))

    async def off_loop(self, function: Callable[[], T]) -> T:
        """Run something in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, function)

    async def off_loop_pictures(self, function: Callable[[], T]) -> T:
        """Run the opening of a large picture in one of a few threads, so that few are held at a time."""
        return await asyncio.get_running_loop().run_in_executor(self._pictures, function)

    async def search(self, asked: Asked) -> Found:
        """Answer one search.

        Raises:
            HashretError: It cannot be answered; :func:`hashret.serve.problems.status_of` says whose fault it is.
        """
        gallery = self.gallery(asked.side)
        begun = time.perf_counter()
        mask = mask_of(gallery.columns, asked.where)
        encoded = await self.encode(asked)
        coded = time.perf_counter()
        left_out = asked.item.number if asked.item is not None and asked.item.side == gallery.side else None
        first = max(asked.k, asked.shortlist)
        hits = await self.off_loop(lambda: gallery.search(encoded.code, first, mask, left_out))
        searched = time.perf_counter()
        seconds = {"encoding": coded - begun, "search": searched - coded}
        scored = None
        if asked.shortlist:
            embedding = encoded.embedding
            assert embedding is not None
            scored = await self.off_loop(lambda: gallery.look_again(hits, embedding, asked.k))
            seconds["second_look"] = time.perf_counter() - searched
        for name, took in seconds.items():
            self.metrics.part(name, took)
        count = len(gallery) if mask is None else int(mask.sum())
        return Found(gallery, encoded.code, answers_of(hits, scored), count, seconds)

    async def encode(self, asked: Asked) -> Encoded:
        """The code of a query; of a gallery item alone the one it has, without a pass of the encoder."""
        encoder, line, embed = self.encoder, self._line, asked.shortlist > 0
        assert line is not None
        source = self.gallery(asked.item.side) if asked.item is not None else None
        if asked.item is not None and source is not None and asked.text is None and asked.upload is None:
            number = asked.item.number
            source.item(number)
            code = await self.off_loop(lambda: source.codes([number]))
            return Encoded(code, source.embedding(number) if embed else None)
        check_asked(asked, encoder)

        def prepare() -> Prepared:
            return encoder.prepare(self._picture_of(asked, source), asked.text, embed=embed)

        pictures = asked.upload is not None or asked.item is not None
        prepared = await (self.off_loop_pictures(prepare) if pictures else self.off_loop(prepare))
        return await line.ask(prepared.kind, prepared)

    def _picture_of(self, asked: Asked, source: Gallery | None) -> Image.Image | None:
        if asked.upload is not None:
            return open_upload(*asked.upload, self.limits.pixels)
        if asked.item is None or source is None:
            return None
        return open_image(existing_picture(source, asked.item.number))


def existing_picture(gallery: Gallery, number: int) -> Path:
    """Where the picture of an item lies.

    Raises:
        MissingItemError: It has none.
    """
    place = gallery.picture(number)
    if place is None:
        raise MissingItemError(
            "picture", expected="an item whose picture is there", got=f"{gallery.side} {number} without one",
            remedy="Start the server with --images, the folder its pictures lie in.",
        )  # fmt: skip
    return place


def failure_of(service: Service) -> HashretError | None:
    """Why loading failed, as a named error.

    Raises:
        Exception: What failed is no mistake of the user.
    """
    if service.failure is None or isinstance(service.failure, HashretError):
        return service.failure
    raise service.failure
