"""Make a key for a client: the key itself, told once, and the lines of `outrider.yaml` that know it by its hash."""

from __future__ import annotations

import argparse
import hashlib
import secrets
import sys

from pydantic import ValidationError

from gateway.config.model import Key


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", help="what receipts and policies call the client")
    parser.add_argument("--models", default="", help="glob patterns with commas between; default: every model")


def run(args: argparse.Namespace) -> int:
    """0: made; 2: the name cannot be used. The key is on standard output, the rest on standard error."""
    key = f"sk-outrider-{secrets.token_urlsafe(32)}"
    digest = hashlib.sha256(key.encode()).hexdigest()
    models = [one.strip() for one in args.models.split(",") if one.strip()] or None
    try:
        made = Key(name=args.name, sha256=digest, models=models)
    except ValidationError as error:
        sys.stderr.write(f"outrider: {args.name!r}: {error.errors()[0]['msg']}\n")
        return 2
    also = f", models: {made.models}" if made.models else ""
    sys.stderr.write("Put this into outrider.yaml, under `keys:`; the key itself is told only now.\n\n")
    sys.stderr.write(f"  - {{name: {made.name}, sha256: {made.sha256}{also}}}\n\n")
    sys.stdout.write(f"{key}\n")
    return 0
