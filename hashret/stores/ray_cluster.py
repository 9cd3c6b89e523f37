"""join_cluster: the one way into a Ray cluster, for stores and for encoding."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from hashret.errors import StoreError

__all__ = ["import_ray", "join_cluster"]


def import_ray(part: str = "ray") -> Any:
    """The module ``ray``, and a part of it that is loaded with it.

    Raises:
        StoreError: Ray is not installed.
    """
    try:
        import_module(part)
        return import_module("ray")
    except ImportError as error:
        raise StoreError("ray", expected="Ray", got=str(error), remedy="pip install 'hashret[ray]'") from error


def join_cluster(address: str | None) -> tuple[Any, bool]:
    """Join a cluster, unless this process is in one.

    Args:
        address: As ``ray.init`` takes it: ``auto``, ``host:6379`` or ``ray://host:10001``; None is the cluster that
            ``$RAY_ADDRESS`` names, else a new one on this machine.

    Returns:
        The module ``ray``, and whether this call joined: who did leaves by ``ray.shutdown()``.

    Raises:
        StoreError: Ray is not installed, or there is no such cluster.
    """
    ray = import_ray()
    if ray.is_initialized():
        return ray, False
    try:
        ray.init(address=address, log_to_driver=False, logging_level="error")
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise StoreError(
            f"ray at {address}" if address else "ray", expected="a Ray cluster", got=str(error).split("\n")[0],
            remedy="Correct the address: auto, host:6379 or ray://host:10001.",
        ) from error  # fmt: skip
    return ray, True
