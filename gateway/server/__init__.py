"""The only floor that waits.

Two libraries do more than is wanted when they are imported, a fifth of a start, so they are imported here, in bare
surroundings. structlog loads rich where it happens to be installed, for tracebacks that show local variables, and those hold
texts. aiohttp reads all root certificates, twice, for sessions that are not told whom to trust; ours are (`trust.py`).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module

CERTIFICATES = "SSL_CERT_FILE"  # where OpenSSL looks for them


@contextmanager
def _bare() -> Iterator[None]:
    """No rich, and no file of root certificates."""
    named = os.environ.get(CERTIFICATES)
    loaded = sys.modules.get("rich")
    os.environ[CERTIFICATES] = os.devnull
    sys.modules["rich"] = None  # type: ignore[assignment]  # how the import system is told that there is none
    try:
        yield
    finally:
        del os.environ[CERTIFICATES], sys.modules["rich"]
        if named is not None:
            os.environ[CERTIFICATES] = named
        if loaded is not None:
            sys.modules["rich"] = loaded


with _bare():
    for library in ("aiohttp", "structlog"):
        import_module(library)
