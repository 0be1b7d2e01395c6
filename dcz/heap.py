"""Memory that the C library keeps for itself.

heap.give_back()    what is free of it goes back to the system
"""

import ctypes
import functools
from collections.abc import Callable


@functools.cache
def _trim() -> Callable[[int], int] | None:
    """malloc_trim, which glibc alone has; None elsewhere."""
    try:
        return getattr(ctypes.CDLL(None), "malloc_trim", None)
    except (OSError, TypeError):  # no library of this program, as on Windows
        return None


def give_back() -> None:
    """Have the system take back what is free.

    glibc keeps free memory below what is in use, for each thread: after a large tensor, many arrays of a few megabytes
    leave holes of a fifth of its bytes and more. Others give it back by themselves, or keep little.
    """
    if (trim := _trim()) is not None:
        trim(0)
