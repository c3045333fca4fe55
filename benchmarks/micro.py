"""What the single parts cost: CPU of one process, the best of several rounds, no network.

    python benchmarks/micro.py [--json FILE]

`kinds.py` does the same for each local kind.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import orjson

from gateway.checks.keywords import Keywords
from gateway.checks.pii import Pii
from gateway.checks.secrets import Secrets
from gateway.checks.texts import folded, looks
from gateway.core.chain import Chain, Link
from gateway.core.exchange import Exchange
from gateway.core.gate import Gate
from gateway.core.tally import Ballot, Rules, State, tally
from gateway.core.terms import OUTPUT_PLACES, Arrived, Call, Delta, Ended, Lane, Piece, Place, Side, Watch
from gateway.wire import canonical, sse, walk
from gateway.wire.endpoints import CHAT

ROUNDS = 7
DOCS = Path(__file__).parents[1] / "docs"
PROSE = "On Tuesday the team met to talk about the password policy and a token of thanks for 12 colleagues. "
DELTAS = 100
HEAD = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m"}


def best(work: Callable[[], object], *, parts: int = 1) -> float:
    """Microseconds of CPU for one part of the work."""
    work()
    count, found = 1, float("inf")
    while True:
        started = time.process_time()
        for _ in range(count):
            work()
        if time.process_time() - started > 0.02:
            break
        count *= 2
    for _ in range(ROUNDS):
        started = time.process_time()
        for _ in range(count):
            work()
        found = min(found, (time.process_time() - started) / count)
    return 1e6 * found / parts


def watch(name: str) -> Watch:
    return Watch(name, Side.OUTPUT, OUTPUT_PLACES, lane=Lane.EXACT)


def pieces(words: Sequence[str] = PROSE.split(" ")) -> list[Piece]:
    return [Piece("choices[0].delta.content", Place.CONTENT, words[n % len(words)] + " ") for n in range(DELTAS)]


def never_seen() -> list[list[str]]:
    """Words as nobody has said them before: the documentation of this project, in pieces of `DELTAS`."""
    words = [word for path in sorted(DOCS.glob("*.md")) for word in path.read_text(encoding="utf-8").split()]
    return [words[at : at + DELTAS] for at in range(0, len(words) - DELTAS, DELTAS)]


def gate() -> None:
    """Every delta held, cleared and released."""
    one = watch("w")
    held, length = Gate([one]), 0
    held.open()
    for piece in pieces():
        held.hold(Delta({}, (piece,), 100, "0"))
        length += len(piece.text)
        held.clear(one, {piece.channel: length})
        held.release(complete=False)


def exchange(checks: dict[str, Keywords | Secrets | Pii], together: int, said: Sequence[Piece] = ()) -> None:
    """A streamed answer through gate, hold-back and exact checks."""
    run = Exchange(
        Call("only", "u", "m", {}, stream=True),
        [watch(name) for name in checks],
        (),
        2**20,
        {name: check.scanner for name, check in checks.items()},
    )
    run.start()
    deltas = [Delta({}, (piece,), 100, "0") for piece in said or pieces()]
    for at in range(0, DELTAS, together):
        run.take(Arrived("only", deltas[at], tuple(deltas[at + 1 : at + together])))
    run.take(Ended("only"))


def once(checks: dict[str, Keywords | Secrets | Pii], together: int) -> float:
    """Microseconds of CPU for a delta of text that was never read before; patterns remember what they have read."""
    answers = [pieces(words) for words in never_seen()]
    exchange(checks, together)
    started = time.process_time()
    for said in answers:
        exchange(checks, together, said)
    return 1e6 * (time.process_time() - started) / DELTAS / len(answers)


def chunk(text: str) -> bytes:
    return canonical.dump({**HEAD, "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]})


def read_stream(data: bytes, how: str) -> None:
    parser, reader = sse.Parser(), CHAT.reader({}, stream=True)
    events = [event.data for event in parser.feed(data)]
    if how == "together":
        list(reader.events(events))
    for event in events if how != "together" else ():
        if how == "template":
            reader.event(event)
        else:
            reader.delta(canonical.parse_answer(event), len(event))


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--json", type=Path)
    args = arguments.parse_args()
    words = Keywords(words=["forbidden", "secret plan", "launch code"])
    both = {"words": words, "secrets": Secrets()}
    stream = b"".join(b"data: " + chunk(piece.text) + b"\n\n" for piece in pieces())
    question = {"model": "m", "messages": [{"role": "user", "content": PROSE * 10}]}
    large = {"model": "m", "messages": [{"role": "user", "content": PROSE * 2000}]}
    body, large_body = canonical.dump(question), canonical.dump(large)
    ballots = [Ballot(f"m{n}", n, f"m{n}", 1.0, State.VALID, "yes" if n % 3 else "no") for n in range(5)]
    receipt = b"x" * 1200
    rows = {
        "gate and hold-back, words and secrets, text never seen": once(both, 1),
        "the same and pii, text never seen, 10 deltas together": once({**both, "pii": Pii()}, 10),
        "gate: a delta held, cleared, released": best(gate, parts=DELTAS),
        "gate and hold-back, no check": best(lambda: exchange({}, 1), parts=DELTAS),
        "gate and hold-back, words": best(lambda: exchange({"words": words}, 1), parts=DELTAS),
        "gate and hold-back, words and secrets": best(lambda: exchange(both, 1), parts=DELTAS),
        "the same, 10 deltas together": best(lambda: exchange(both, 10), parts=DELTAS),
        "reading a chunk, in full": best(lambda: read_stream(stream, "full"), parts=DELTAS),
        "reading a chunk, by its template": best(lambda: read_stream(stream, "template"), parts=DELTAS),
        "the same, chunks that came together": best(lambda: read_stream(stream, "together"), parts=DELTAS),
        "views: the looks of 1 KB": best(lambda: looks(PROSE * 10)),
        "views: 1 KB folded": best(lambda: folded(PROSE * 10)),
        "a body of 1 KB parsed and walked": best(lambda: list(walk.leaves(canonical.parse(body)))),
        "a body of 200 KB parsed and walked": best(lambda: list(walk.leaves(canonical.parse(large_body)))),
        "tally of 5 ballots": best(lambda: tally(ballots, Rules(), 5.0).decided),
        "the seal of a receipt": best(lambda: list(Chain().sealed(Link(), [receipt]))),
    }
    print("\n| part | us |\n|---|---:|")
    for name, microseconds in rows.items():
        print(f"| {name} | {microseconds:.1f} |")
    if args.json:
        args.json.write_bytes(orjson.dumps(rows))


if __name__ == "__main__":
    main()
