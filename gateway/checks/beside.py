"""Files that a policy names: they lie beside it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, ValidationInfo

from gateway.yamlfile import did_you_mean


def _found(file: str, info: ValidationInfo) -> str:
    """Its path. Raises ValueError where there is none, with the name of one that is nearly called so."""
    folder = Path((info.context or {}).get("folder", "."))
    path = folder / file
    if not path.is_file():
        near = path.parent
        there = [str(one.relative_to(folder)) for one in near.iterdir() if one.is_file()] if near.is_dir() else []
        raise ValueError(f"the file '{file}' does not exist beside the policy{did_you_mean(file, there)}")
    return str(path)


def digest(texts: Iterable[str]) -> str:
    """Of what files say: part of the version of the check that reads them. Nothing of no files."""
    told = [text.encode() for text in texts]
    sized = b"".join(part for text in told for part in (len(text).to_bytes(8, "big"), text))
    return hashlib.blake2b(sized, digest_size=16).hexdigest() if told else ""


Beside = Annotated[str, AfterValidator(_found)]
