"""Look into the receipts that are kept: list, export, verify the chain, tell what shadow checks would have done."""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import IO, Any

import orjson

from gateway.cli.progress import Progress
from gateway.cli.receipts import Receipt, Unreadable, opened, reading, receipts, selecting, wanted
from gateway.core.chain import Chain, Link, Verified
from gateway.core.terms import Action
from gateway.server.audit.store import Selection, StoreError
from gateway.settings import Settings, SettingsError, load_settings

COLUMNS = ("time", "id", "endpoint", "model", "stream", "decision", "action", "status", "ms", "first_byte_ms", "why")
GROUP = 10_000  # receipts of one part of a Parquet file


def arguments(parser: argparse.ArgumentParser) -> None:
    words = parser.add_subparsers(dest="word", required=True, metavar="WORD")
    listed = words.add_parser("list", help="the newest receipts", description="The newest receipts, one a line.")
    listed.add_argument("--limit", type=int, default=50, help="how many (default 50)")
    listed.add_argument("--json", action="store_true", help="whole receipts, one a line")
    export = words.add_parser("export", help="receipts to a file", description="Receipts, the oldest first.")
    export.add_argument("--format", choices=["jsonl", "csv", "parquet"], default="jsonl")
    export.add_argument("--out", type=Path, help="the file; default: to standard output")
    diff = words.add_parser(
        "diff",
        help="what shadow checks would have done",
        description="Of the requests that shadow checks looked at: which would have ended otherwise, and by which check.",
    )
    diff.add_argument("--examples", type=int, default=3, help="requests to name for each check")
    diff.add_argument("--json", action="store_true")
    verify = words.add_parser(
        "verify",
        help="whether the chain of receipts is whole",
        description="Follow the chain from the oldest receipt that is kept to the newest. Prints the newest seal: noted elsewhere, it shows later that everything up to it is as it was.",
    )
    verify.add_argument("--noted", action="append", default=[], metavar="SEQ:SEAL", help="a seal that was noted")
    verify.add_argument("--json", action="store_true")
    for word in (listed, export, diff):
        selecting(word)
    for word in (listed, export, diff, verify):
        reading(word)


def run(args: argparse.Namespace) -> int:
    """0: done; 1: the chain is broken, or a shadow check would have changed an answer; 2: cannot be read."""
    try:
        settings = load_settings()
        return {"list": _list, "export": _export, "diff": _diff, "verify": _verify}[args.word](args, settings)
    except (SettingsError, Unreadable, StoreError) as error:
        sys.stderr.write(f"outrider: {error}\n")
        return 2
    except BrokenPipeError:
        sys.stderr.close()
        return 0


def _list(args: argparse.Namespace, settings: Settings) -> int:
    found = islice(receipts(args.source, settings, wanted(args, newest_first=True)), args.limit)
    for receipt in found:
        sys.stdout.write((_dumped(receipt) if args.json else _line(receipt)) + "\n")
    return 0


def _line(receipt: Receipt) -> str:
    if receipt.get("decision") == "lost":
        return f"{receipt.get('time', '')}  {receipt.get('lost')} receipts could not be kept before this moment"
    hits = [look["check"] for look in receipt.get("checks", ()) if look.get("verdict") == "hit"]
    said = (
        f"{receipt.get('time', '')}  {receipt['id']}  {receipt.get('decision', ''):9} {receipt.get('status', 0)}"
        f"  {receipt.get('ms', 0):8.1f} ms  {receipt.get('endpoint', ''):12} {_plain(str(receipt.get('model', '')))}"
    )
    told = [str(receipt["why"])] if receipt.get("why") else [f"hit: {', '.join(dict.fromkeys(hits))}"] if hits else []
    return "  ".join([said, *told])


def _plain(text: str) -> str:
    """What a client named, without anything that a terminal would obey."""
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")


def _dumped(document: Any) -> str:
    return orjson.dumps(document).decode()


def _export(args: argparse.Namespace, settings: Settings) -> int:
    found = receipts(args.source, settings, wanted(args))
    if args.format == "parquet":
        if args.out is None:
            raise Unreadable("Parquet goes to a file: say which with --out")
        _parquet(found, args.out)
        return 0
    if args.out is None:
        _write(found, sys.stdout, args.format)
        return 0
    try:
        with args.out.open("w", encoding="utf-8", newline="") as file:
            _write(_counted(found), file, args.format)
    except OSError as error:
        raise Unreadable(f"{args.out}: {error.strerror or error}") from None
    return 0


def _write(found: Iterable[Receipt], file: IO[str], form: str) -> None:
    if form == "jsonl":
        for receipt in found:
            file.write(_dumped(receipt) + "\n")
        return
    table = csv.writer(file)
    table.writerow([*COLUMNS, "policies", "hits", "tokens", "usd"])
    for receipt in found:
        table.writerow(_row(receipt))


def _row(receipt: Receipt) -> list[Any]:
    """A receipt as one row: what a table can hold. A cell that a spreadsheet would take for a formula is quoted."""
    looks, calls = receipt.get("checks", ()), receipt.get("calls", ())
    costs = [one["usd"] for one in [*looks, *calls] if "usd" in one]
    return [
        *(_cell(receipt.get(name, "")) for name in COLUMNS),
        _cell(" ".join(receipt.get("policies", ()))),
        _cell(" ".join(dict.fromkeys(look["check"] for look in looks if look.get("verdict") == "hit"))),
        sum(call.get("usage", {}).get("total_tokens", 0) for call in calls),
        round(sum(costs), 8) if costs else "",
    ]


def _cell(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value[:1] in {"=", "+", "-", "@", "\t", "\r"} else value


def _parquet(found: Iterator[Receipt], path: Path) -> None:
    try:
        import pyarrow as pa  # noqa: PLC0415 -- an extra
        from pyarrow import parquet  # noqa: PLC0415
    except ImportError:
        raise Unreadable("Parquet needs the extra: pip install 'outrider[parquet]'") from None
    names = {"stream": pa.bool_(), "status": pa.int64(), "ms": pa.float64(), "first_byte_ms": pa.float64()}
    schema = pa.schema([(name, names.get(name, pa.string())) for name in COLUMNS] + [("receipt", pa.string())])
    counted = _counted(found)
    with parquet.ParquetWriter(path, schema) as writer:
        while rows := list(islice(counted, GROUP)):
            columns = {name: [row.get(name) for row in rows] for name in COLUMNS}
            columns["receipt"] = [_dumped(row) for row in rows]
            writer.write_table(pa.table(columns, schema))


def _counted(found: Iterator[Receipt]) -> Iterator[Receipt]:
    with Progress("receipts", 0) as progress:
        for number, receipt in enumerate(found, 1):
            progress.at(number)
            yield receipt


def _diff(args: argparse.Namespace, settings: Settings) -> int:
    told = shadows(receipts(args.source, settings, wanted(args)), args.examples)
    if args.json:
        sys.stdout.write(_dumped(told) + "\n")
    else:
        sys.stdout.write(_shown(told))
    return int(told["changed"] > 0)


def shadows(found: Iterable[Receipt], examples: int) -> dict[str, Any]:
    """What the shadow checks would have changed: {looked_at, changed, checks: [{check, looked, hits, would, examples}]}."""
    looked = changed = 0
    checks: dict[str, dict[str, Any]] = {}
    for receipt in found:
        shadow = receipt.get("shadow")
        if not isinstance(shadow, dict):
            continue
        looked += 1
        changed += bool(shadow.get("by"))
        for key in _looked_by(receipt):
            one = checks.setdefault(
                key, {"check": key, "looked": 0, "hits": 0, "failed": 0, "would": {}, "examples": []}
            )
            _count(one, key, receipt, shadow, examples)
    return {"looked_at": looked, "changed": changed, "checks": sorted(checks.values(), key=lambda one: one["check"])}


def _looked_by(receipt: Receipt) -> list[str]:
    looks = (look for look in receipt.get("checks", ()) if look.get("shadow"))
    return list(dict.fromkeys(f"{look['check']}/{look['side']}" for look in looks))


def _count(one: dict[str, Any], key: str, receipt: Receipt, shadow: dict[str, Any], examples: int) -> None:
    verdicts = {look["verdict"] for look in receipt["checks"] if f"{look['check']}/{look['side']}" == key}
    one["looked"] += 1
    one["hits"] += "hit" in verdicts
    one["failed"] += "failed" in verdicts
    if key in shadow.get("by", ()):
        would = str(shadow["action"])
        one["would"][would] = one["would"].get(would, 0) + 1
        if len(one["examples"]) < examples:
            one["examples"].append({"id": receipt["id"], "time": receipt.get("time", ""), "was": receipt["decision"]})


def _shown(told: dict[str, Any]) -> str:
    if not told["looked_at"]:
        return "No shadow check has looked at any of these requests.\n"
    lines = [f"{told['changed']} of {told['looked_at']} requests would have ended otherwise."]
    for one in told["checks"]:
        would = ", ".join(
            f"would have {_done(name)} {count} of {one['looked']}" for name, count in sorted(one["would"].items())
        )
        failed = f", failed {one['failed']}" if one["failed"] else ""
        would = would or f"would have changed none of {one['looked']}"
        lines += [f"{one['check']}: {would} (hits {one['hits']}{failed})"]
        lines += [f"    {example['time']}  {example['id']}  was {example['was']}" for example in one["examples"]]
    return "\n".join(lines) + "\n"


def _done(action: str) -> str:
    return {Action.BLOCK: "blocked", Action.REDACT: "redacted", Action.MASK: "masked", Action.FLAG: "flagged"}[
        Action[action.upper()]
    ]


def _verify(args: argparse.Namespace, settings: Settings) -> int:
    noted = [_link(one) for one in args.noted]
    chain = Chain(settings.audit_key.get_secret_value().encode() if settings.audit_key else b"")
    with closing(opened(args.source, settings)) as store:
        start, head = store.ends()
        found = chain.verify(start, store.read(Selection()), head, noted)
    if args.json:
        flaws = [{"receipt": seq, "what": what} for seq, what in found.flaws]
        sys.stdout.write(_dumped({"count": found.count, "head": found.head, "flaws": flaws}) + "\n")
    else:
        sys.stdout.write(_verified(found, sure_of_end=head is not None))
    return int(bool(found.flaws))


def _link(said: str) -> Link:
    seq, _, seal = said.partition(":")
    if not seq.isdigit() or len(seal) != 64:
        raise Unreadable(f"--noted {said}: write SEQ:SEAL as `outrider audit verify` prints it")
    return Link(int(seq), seal)


def _verified(found: Verified, *, sure_of_end: bool) -> str:
    lines = [f"receipt {seq}: {what}" for seq, what in found.flaws]
    first = found.start.seq + 1
    if found.flaws:
        lines.append(f"The chain of {found.count} receipts is BROKEN.")
    else:
        lines.append(f"{found.count} receipts, {first} to {found.head.seq}: the chain is whole.")
    if not sure_of_end:
        lines.append("This store does not note its end: that nothing was cut off there, only a noted seal can show.")
    lines.append(f"Newest: {found.head.seq}:{found.head.seal}")
    return "\n".join(lines) + "\n"
