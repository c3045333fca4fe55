"""How the log looks: JSON lines by default, coloured lines on a terminal, never a control character.

Nothing here decides what is logged; the rule for that is: no key, no prompt and no answer text.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, Literal

import orjson
import structlog

log = structlog.get_logger()


def set_up(level: str, style: Literal["auto", "console", "json"]) -> None:
    """Configure structlog for the process; `auto` is console on a terminal, else JSON."""
    console = style == "console" or (style == "auto" and sys.stderr.isatty())
    render: list[Any] = (
        [_printable, structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
        if console
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(serializer=_dumps)]
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr)
        if console
        else structlog.BytesLoggerFactory(sys.stderr.buffer),
        cache_logger_on_first_use=True,
    )


def _dumps(event: MutableMapping[str, Any], **_: object) -> bytes:
    return orjson.dumps(event, default=str)


def _printable(_logger: object, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """No value can forge a line or emit a terminal escape."""
    for key, value in event.items():
        if isinstance(value, str) and not value.isprintable():
            event[key] = value.encode("unicode_escape").decode("ascii")
    return event
