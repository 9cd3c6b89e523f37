"""keep_heap: freed memory stays with the process that runs a network block after block.

glibc gives what a block of 16 pictures has freed back to the system, which clears every page of it anew for the next
block, which a small network feels. What stays is what one block needs, once.
"""

from __future__ import annotations

import ctypes
import sys

__all__ = ["keep_heap"]

# mallopt's, of <malloc.h>: up to 32 MiB (its largest) comes from the heap, of which 256 MiB may lie idle.
_SETTINGS = {-3: 32 << 20, -1: 256 << 20, -2: 16 << 20}  # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD, M_TOP_PAD


def keep_heap() -> bool:
    """Ask glibc to keep freed memory; other C libraries are left as they are.

    Returns:
        Whether it was glibc, and agreed.
    """
    if sys.platform != "linux":
        return False
    library = ctypes.CDLL(None)
    if not hasattr(library, "gnu_get_libc_version"):
        return False
    return all([library.mallopt(key, value) == 1 for key, value in _SETTINGS.items()])
