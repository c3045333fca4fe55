"""The cases of the comparison: each runs one gateway for a moment and returns figures, the smaller the better.

Milliseconds are those of the machine; what holds is the ratio to the floor, taken in turn in the same run.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

from stand import Gateway, Stand, cpu, memory, on_cpu

Figures = dict[str, float]


class Case(NamedTuple):
    key: str
    title: str
    figure: str  # the one that the table compares
    run: Callable[[Stand, Gateway, float], tuple[Figures, dict[str, list[float]]]]


def share(times: list[float], part: float) -> float:
    """The time that this part of the requests took at most."""
    return times[min(len(times) - 1, int(part * len(times)))] if times else float("nan")


def _cost(stand: Stand, gateway: Gateway, *options: object, each: str) -> tuple[Figures, dict[str, list[float]]]:
    """CPU for each answer, or for each chunk."""
    stand.load(gateway, *options, "--seconds", 0.3)
    before = cpu(gateway)
    ran = stand.load(gateway, *options)
    used = cpu(gateway) - before
    count = ran["events"] if each == "chunk" else ran["answers"]
    figures = {
        f"us_{each}": 1e6 * used / count if count else float("nan"),
        "per_second": count / ran["seconds"],
        "wrong": ran["wrong"],
    }
    return figures, {}


def _late(ran: dict[str, Any], what: str, ideal: float) -> tuple[Figures, dict[str, list[float]]]:
    times = ran[what]
    over = [t - ideal for t in times]
    figures = {"p50_over_ms": share(over, 0.5), "p99_over_ms": share(over, 0.99), "wrong": ran["wrong"]}
    return figures, {"over": over}


def plain(stand: Stand, gateway: Gateway, seconds: float) -> tuple[Figures, dict[str, list[float]]]:
    return _cost(stand, gateway, "--clients", 32, "--seconds", seconds, each="request")


def large(stand: Stand, gateway: Gateway, seconds: float) -> tuple[Figures, dict[str, list[float]]]:
    return _cost(stand, gateway, "--clients", 8, "--seconds", seconds, "--size", 200_000, each="request")


def image(stand: Stand, gateway: Gateway, seconds: float) -> tuple[Figures, dict[str, list[float]]]:
    return _cost(stand, gateway, "--clients", 4, "--seconds", seconds, "--image", 1_000_000, each="request")


def stream(stand: Stand, gateway: Gateway, seconds: float) -> tuple[Figures, dict[str, list[float]]]:
    options = ("--stream", "--model", "plain-n100", "--clients", 16, "--seconds", seconds)
    return _cost(stand, gateway, *options, each="chunk")


def paced(stand: Stand, gateway: Gateway, seconds: float) -> tuple[Figures, dict[str, list[float]]]:
    options = ("--stream", "--model", "plain-t20-i20-n50", "--clients", 50, "--seconds", seconds)
    return _cost(stand, gateway, *options, each="chunk")


def guarded(stand: Stand, gateway: Gateway, seconds: float) -> tuple[Figures, dict[str, list[float]]]:
    stand.load(gateway, "--clients", 1, "--seconds", 0.2)
    options = ("--model", "plain-d200-b700", "--rate", 15, "--seconds", 2 * seconds)
    return _late(stand.load(gateway, *options), "times", 200.0)


def guarded_cpu(stand: Stand, gateway: Gateway, seconds: float) -> tuple[Figures, dict[str, list[float]]]:
    options = ("--model", "plain-d20-b700", "--clients", 128, "--seconds", seconds)
    return _cost(stand, gateway, *options, each="request")


def first_token(stand: Stand, gateway: Gateway, seconds: float) -> tuple[Figures, dict[str, list[float]]]:
    options = ("--stream", "--model", "plain-t200-i10-n20", "--rate", 15, "--seconds", 2 * seconds)
    return _late(stand.load(gateway, *options), "firsts", 200.0)


def refused(stand: Stand, gateway: Gateway, seconds: float) -> tuple[Figures, dict[str, list[float]]]:
    """Of a refused question: how much longer than the guard it takes, and how many upstream calls ran on."""
    model = f"plain-d1500-b{time.time_ns() % 10**6 + 1000}"
    expected = ",".join(str(status) for status in range(400, 500))
    ran = stand.load(gateway, "--model", model, "--rate", 10, "--seconds", seconds, "--unsafe", "--expect", expected)
    time.sleep(1.7)
    calls = stand.stats().get(model, {"answered": 0})
    figures, spread = _late(ran, "times", 50.0)
    return {**figures, "ran_on": calls["answered"]}, spread


def vote(stand: Stand, gateway: Gateway, seconds: float) -> tuple[Figures, dict[str, list[float]]]:
    options = ("--model", _panel(gateway), "--rate", 10, "--seconds", 2 * seconds)
    return _late(stand.load(gateway, *options), "times", 50.0)


def vote_cpu(stand: Stand, gateway: Gateway, seconds: float) -> tuple[Figures, dict[str, list[float]]]:
    options = ("--model", _panel(gateway), "--clients", 32, "--seconds", seconds)
    return _cost(stand, gateway, *options, each="request")


def _panel(gateway: Gateway) -> str:
    return "vote-d50-k1" if gateway.name.startswith("floor") else "panel"


def start(stand: Stand, gateway: Gateway, seconds: float) -> tuple[Figures, dict[str, list[float]]]:
    """A fresh one, from the command to the first healthy answer, and the CPU until then."""
    del seconds
    fresh = replace(gateway, name=f"{gateway.name}, fresh")
    stand.start(fresh)
    used = on_cpu(fresh)
    stand.stop(fresh)
    return {"start_ms": 1e3 * fresh.started, "cpu_ms": 1e3 * used}, {}


def idle(stand: Stand, gateway: Gateway, seconds: float) -> tuple[Figures, dict[str, list[float]]]:
    """One that nobody has asked yet."""
    del stand
    before = on_cpu(gateway)
    time.sleep(5 * seconds)
    return {"mib": memory(gateway), "cpu_percent": 100 * (on_cpu(gateway) - before) / (5 * seconds)}, {}


CASES = [
    Case("idle", "Started and idle", "mib", idle),
    Case("start", "From the command to the first healthy answer", "start_ms", start),
    Case("plain", "A plain request, 1 KB in and out, 32 at a time", "us_request", plain),
    Case("large", "A question of 200 KB, 8 at a time", "us_request", large),
    Case("image", "A question with an image of 1 MB, 4 at a time", "us_request", image),
    Case("stream", "Streams of 100 chunks without a pause, 16 at a time", "us_chunk", stream),
    Case("paced", "Streams with a chunk each 20 ms, 50 at a time", "us_chunk", paced),
    Case("guarded", "A guard of 50 ms beside an answer of 200 ms: ms over 200", "p50_over_ms", guarded),
    Case("first_token", "The same, streamed: ms of the first token over 200", "p50_over_ms", first_token),
    Case("refused", "A refusal by that guard: ms over its 50", "p50_over_ms", refused),
    Case("guarded_cpu", "CPU of a guarded request, 128 at a time", "us_request", guarded_cpu),
    Case("vote", "A vote of five, each 50 ms: ms over 50", "p50_over_ms", vote),
    Case("vote_cpu", "CPU of a vote of five, 32 at a time", "us_request", vote_cpu),
]
