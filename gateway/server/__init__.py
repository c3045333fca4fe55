"""The only floor that waits.

structlog loads rich where it happens to be installed: a tenth of a start, for tracebacks that would show local variables,
which hold texts. So there is no rich while structlog is imported, which is here, before any file of this floor.
"""

from __future__ import annotations

import sys
from importlib import import_module

if "rich" not in sys.modules:
    sys.modules["rich"] = None  # type: ignore[assignment]  # how the import system is told that there is none
    import_module("structlog")
    del sys.modules["rich"]
