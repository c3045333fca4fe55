"""What the exact lane costs: characters held back of ordinary prose, and time for a delta, with the baseline policy.

`python benchmarks/holdback.py`: no network, no timer; CPU time of this process.
"""

from __future__ import annotations

import re
import statistics
import sys
import time
from collections.abc import Iterator, Sequence

from gateway.core.exchange import Exchange
from gateway.core.terms import Arrived, Call, Delta, Send, Side, Watch
from gateway.policy.load import BUILT_IN, load_policies
from gateway.policy.plan import plan
from gateway.wire.endpoints import CHAT
from gateway.wire.reader import Reader

PROSE = """\
The committee met on Tuesday and agreed that the proposal, although it was late, deserved a second reading.
"Write to anna.smith@example.com," she said, "or call before 12:30; ticket TCK-1234 has the details." Nobody
knew whether the key, AKIA followed by sixteen characters, had ever been used: it began like this, AKIAIOSF, and
was crossed out. Call +49 30 901820 or 555-0199 if the door is locked. In 2019 there were 1,204 cases (12%).
"""
ROUNDS = 40
TOKENS = 5  # of one delta


def deltas(reader: Reader, tokens_each: int) -> Iterator[tuple[Delta, int]]:
    tokens = re.findall(r"\s?[^\s]{1,5}", PROSE * ROUNDS)
    for start in range(0, len(tokens), tokens_each):
        text = "".join(tokens[start : start + tokens_each])
        frame = {"id": "c", "model": "m", "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]}
        yield reader.delta(frame), len(text)


def main() -> None:
    planned = plan(load_policies(BUILT_IN), models=("m",), endpoint="chat")
    output = [watch for watch in planned.watches if watch.side is Side.OUTPUT]

    def exchange(watches: Sequence[Watch]) -> Exchange:
        made = Exchange(Call("only", "u", "m", {}, stream=True), watches, (), 2**20, planned.follows)
        made.start()
        return made

    held, begun = [], exchange(output)
    came = gone = 0
    for delta, size in deltas(CHAT.reader({}, stream=True), 1):
        came += size
        for effect in begun.take(Arrived("only", delta)):
            if isinstance(effect, Send):
                gone += sum(len(p.text) for p in effect.delta.pieces if p.channel.endswith("content"))
        held.append(came - gone)
    held.sort()
    sys.stdout.write(
        f"held back, one token at a time: mean {statistics.mean(held):.1f}, p99 {held[len(held) * 99 // 100]} characters\n"
    )

    costs = {}
    for name, watches in (("no check", []), ("baseline", output)):
        best = []
        for _ in range(7):
            made = exchange(watches)
            came_in = [delta for delta, _ in deltas(CHAT.reader({}, stream=True), TOKENS)]
            started = time.process_time()
            for delta in came_in:
                made.take(Arrived("only", delta))
            best.append((time.process_time() - started) / len(came_in) * 1e6)
        costs[name] = statistics.median(best)
    extra = costs["baseline"] - costs["no check"]
    sys.stdout.write(
        f"a delta of {TOKENS} tokens: {costs['baseline']:.1f} us with the baseline policy, "
        f"{costs['no check']:.1f} us without a check ({extra:.1f} us for it)\n"
    )


if __name__ == "__main__":
    main()
