"""How the C library treats the buffers of requests and answers, each of half a megabyte or more."""

from __future__ import annotations

from functools import cache

_KEPT = 4 << 20


@cache
def keep_freed_memory() -> None:
    """Have the C library keep what such a buffer leaves behind for the next one. Once for the process.

    glibc returns a large block to the system when it is freed, and the next one comes back as empty pages, to
    be filled with zeros one by one: a quarter of the CPU that an upload took. It does not do so for blocks as
    large as the largest that was freed so far (mallopt(3), M_MMAP_THRESHOLD), so one is freed here. It is
    never written to, so it takes no memory; other C libraries do not mind.
    """
    bytearray(_KEPT)
