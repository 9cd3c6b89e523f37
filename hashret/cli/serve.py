"""``hashret serve``."""

from __future__ import annotations

import os
import sys
import threading
import webbrowser
from collections.abc import Sequence
from importlib.util import find_spec

import click

from hashret.cli.show import say
from hashret.errors import StoreError

__all__ = ["check_installed", "open_page", "serve"]


@click.command(
    epilog="Examples: hashret serve --run runs/flickr8k --index photos.index; hashret serve --run demo/run --index "
    "demo/t2i.index --index demo/i2t.index --images demo/images; hashret serve --run runs/flickr8k --index "
    "chdb:photos.chdb"
)
@click.option("--run", type=click.Path(exists=True, file_okay=False), required=True, help="Run the codes are of.")
@click.option(
    "--index", "indexes", multiple=True, required=True,
    help="What hashret index wrote, a file or a store; twice for one of images and one of texts.",
)  # fmt: skip
@click.option(
    "--images", type=click.Path(exists=True, file_okay=False),
    help="Folder of the pictures, by the items' keys or paths [default: where they were encoded from].",
)  # fmt: skip
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen; others need a --token.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one.")
@click.option("--token", default="", envvar="HASHRET_TOKEN", help="What requests must carry [env: HASHRET_TOKEN].")
@click.option("--device", default="auto", show_default=True, help="Where the network runs.")
@click.option("--max-upload", default=16, show_default=True, type=click.IntRange(1), help="Megabytes of a request.")
@click.option("--max-pixels", default=32, show_default=True, type=click.IntRange(1), help="Megapixels of an image.")
@click.option("--timeout", default=30.0, show_default=True, type=click.FloatRange(0.1), help="Seconds a request.")
def serve(
    run: str, indexes: tuple[str, ...], images: str | None, host: str, port: int, token: str, device: str,
    max_upload: int, max_pixels: int, timeout: float,
) -> None:  # fmt: skip
    """Serve a page to search with, and a JSON API, over one index of images, one of texts, or both.

    A request may name items of the index by number, never a file and never an address. The API is described in
    /openapi.json; /healthz tells when the model is loaded, /metrics is for Prometheus.
    """
    limits = (max_upload << 20, max_pixels * 1_000_000, timeout)
    open_page(run, indexes, images=images, host=host, port=port, token=token, device=device, limits=limits)


def open_page(
    run: str,
    indexes: Sequence[str],
    *,
    images: str | None,
    host: str = "127.0.0.1",
    port: int = 8000,
    token: str = "",
    device: str = "auto",
    limits: tuple[int, int, float] | None = None,
    browser: bool = False,
) -> None:
    """Serve until interrupted.

    Args:
        run: Run folder.
        indexes: Index files or addresses of stores.
        images: Folder of the pictures; None for where they were encoded from.
        host: Where to listen.
        port: 0 takes a free one.
        token: What requests must carry.
        device: Where the network runs.
        limits: Bytes and pixels of an upload, and seconds of a request; None for the usual ones.
        browser: Whether to open the page in a browser, if there is a screen.

    Raises:
        StoreError: What serving needs is not installed, or the port cannot be had.
        HashretError: A file is missing, damaged or of another run.
    """
    check_installed()
    from hashret.serve import Limits, Service, run_server

    bounds = Limits() if limits is None else Limits(body=limits[0], pixels=limits[1], seconds=limits[2])
    service = Service(run, indexes, images=images, limits=bounds, device=device)

    def told(address: str) -> None:
        say(f"{address}  (the model is being loaded; Ctrl+C ends)")
        if browser and _has_a_screen():
            threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()  # some wait to be closed

    run_server(service, host=host, port=port, token=token, told=told)


def check_installed() -> None:
    """Refuse to begin what would end for want of a package.

    Raises:
        StoreError: What serving needs is not installed.
    """
    missing = [
        name for name in ("fastapi", "uvicorn", "python_multipart", "prometheus_client") if find_spec(name) is None
    ]
    if missing:
        raise StoreError(
            "hashret serve", expected="the packages of the extra 'serve'", got=f"no {', '.join(missing)}",
            remedy="Run: pip install 'hashret[serve]'",
        )  # fmt: skip


def _has_a_screen() -> bool:
    """Whether a browser would open in a window, not in this terminal."""
    return sys.platform in ("darwin", "win32") or any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")))
