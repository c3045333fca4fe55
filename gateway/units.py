"""Durations and sizes as people write them: `2s`, `500ms`, `10MiB`, `200k`."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

_NUMBER = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)\Z")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_SIZES = {
    "": 1,
    "b": 1,
    "k": 1000,
    "kb": 1000,
    "mb": 1000**2,
    "kib": 1024,
    "mib": 1024**2,
    "gib": 1024**3,
}


def seconds(value: Any) -> float:
    """`"500ms"` -> 0.5. A bare number is refused: it does not say its unit. Zero may be bare."""
    if value in (0, "0"):
        return 0.0
    found = _NUMBER.match(value.strip()) if isinstance(value, str) else None
    if found is None or found[2] not in _SECONDS:
        raise ValueError(f"{value!r} is not a duration; write for example 500ms, 2s or 10m")
    return float(found[1]) * _SECONDS[found[2]]


def size(value: Any) -> int:
    """`"10MiB"` -> 10485760. A bare number is a count."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    found = _NUMBER.match(value.strip()) if isinstance(value, str) else None
    if found is None or found[2].lower() not in _SIZES:
        raise ValueError(f"{value!r} is not a size; write for example 512KiB or 10MiB")
    return int(float(found[1]) * _SIZES[found[2].lower()])


Duration = Annotated[
    float,
    BeforeValidator(seconds, json_schema_input_type=Annotated[str, Field(pattern=r"^\d+(\.\d+)?(ms|s|m|h|d)$")]),
    Field(gt=0, le=86_400),
]  # seconds
Delay = Annotated[
    float,
    BeforeValidator(seconds, json_schema_input_type=Annotated[str, Field(pattern=r"^\d+(\.\d+)?(ms|s|m|h|d)$")]),
    Field(ge=0, le=86_400),
]  # seconds, zero allowed
Age = Annotated[float, BeforeValidator(seconds), Field(ge=0)]  # seconds, days and more
Size = Annotated[int, BeforeValidator(size, json_schema_input_type=str | int), Field(gt=0)]  # bytes
Room = Annotated[int, BeforeValidator(size, json_schema_input_type=str | int), Field(ge=0)]  # bytes, zero allowed
