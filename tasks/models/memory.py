"""How this process's allocator treats the arrays of a model that runs on a CPU."""

import ctypes
from functools import cache

_TRIM, _MMAP = -1, -3  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD of malloc.h
_KEPT = 256 << 20  # bytes of a heap's free end that stay with the process
_MAPPED = 32 << 20  # arrays as large as this are mapped one by one: the most that glibc permits


@cache  # once a process
def keep_freed_memory() -> None:
    """Give memory back to the system in large pieces only, where the C library is glibc.

    Each layer of a model allocates arrays of a few megabytes and frees them. Dask starts its workers with a trim threshold of 64 KiB, which
    also fixes the size from which on arrays are mapped one by one at 128 KiB: each array is then mapped, filled with zeros page by page and
    unmapped again, which took 45 % of the CPU time of embedding on two cores.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_TRIM, _KEPT)
        mallopt(_MMAP, _MAPPED)
