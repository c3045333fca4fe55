"""One look of one check: its deadline, its pieces side by side, the votes of a panel, verdicts that are known already."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import structlog

from gateway.checks.base import Ask, Check, CheckFault
from gateway.checks.hurry import Hurry, takes
from gateway.checks.panel import Jury
from gateway.checks.segments import Cut, moved, segments, worst
from gateway.checks.texts import spoken
from gateway.core.history import parted
from gateway.core.holdback import Crowded
from gateway.core.terms import Examine, Finding, History, Judgement, Outcome, Passage, Side, Watch
from gateway.server.spending import Spent
from gateway.server.threads import aside
from gateway.server.verdicts import Verdicts

log = structlog.get_logger()

Judge = Callable[[Sequence[Passage]], Judgement]


@dataclass(frozen=True)
class Counsel:
    """What a look that leaves the process needs: a port to ask through until a moment, and the verdicts kept."""

    until: Callable[[float, Spent], Ask]  # monotonic seconds
    verdicts: Verdicts = field(default_factory=Verdicts)


async def look_once(check: Check, examine: Examine, counsel: Counsel, spent: Spent | None = None) -> Finding:
    """Ask one check, within its deadline. What it costs goes to `spent`, also when it fails or is dropped."""
    watch = examine.watch
    try:
        async with asyncio.timeout(watch.timeout):
            if check.local:
                judgement = await judged_aside(check, judging(check, watch), examine.passages)
            else:
                ask = counsel.until(time.monotonic() + watch.timeout, Spent() if spent is None else spent)
                judgement = await _Look(ask, counsel.verdicts, examine).judge(check, examine.passages)
        return judged(watch, judgement)
    except Exception as error:  # noqa: BLE001 -- a check is a guest: its fault is a finding
        return failed(watch, error)


def look_now(check: Check, examine: Examine) -> Finding | None:
    """A local check of little text: microseconds, so it runs where it stands. None: of this text it is more."""
    try:
        with Hurry(time.thread_time):
            takes(len(examine.passages) // 8)
            return judged(examine.watch, judging(check, examine.watch)(examine.passages))
    except Crowded:
        return None
    except Exception as error:  # noqa: BLE001 -- a check is a guest: its fault is a finding
        return failed(examine.watch, error)


class _Look:
    """Of a check that asks a model or a service, or of a panel."""

    def __init__(self, ask: Ask, verdicts: Verdicts, examine: Examine) -> None:
        self._ask = ask
        self._verdicts = verdicts
        self._apart = examine.watch.side is Side.INPUT and examine.watch.history is History.CACHED
        self._asked = examine.question

    async def judge(self, check: Check, passages: Sequence[Passage]) -> Judgement:
        if isinstance(check, Jury):
            return await self._vote(check, passages)
        if check.local:
            return await judged_aside(check, check.judge, passages)
        old, new = parted(passages) if self._apart else ([], passages)
        parts = [*old, new] if new or not old else old
        groups = [group for part in parts for group in segments(part, check.most, single=check.single)]
        if len(groups) == 1:
            return await self._examine(check, groups[0])
        return await self._each(check, groups)

    async def _each(self, check: Check, groups: Sequence[Sequence[Cut]]) -> Judgement:
        """All at once; the first hit drops the rest, unless each hit is to be told with its place.

        A group that fails fails the look, unless another hits.
        """
        said: list[Judgement] = []
        failures: list[Exception] = []
        spoken = asyncio.Event()

        async def one(group: Sequence[Cut]) -> None:
            try:
                said.append(await self._examine(check, group))
            except Exception as error:  # noqa: BLE001 -- told below, unless a hit has decided
                failures.append(error)
            spoken.set()

        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(one(group)) for group in groups]
            while len(said) + len(failures) < len(groups) and (check.can_rewrite or not _hit(said)):
                await spoken.wait()
                spoken.clear()
            for task in running:
                task.cancel()
        if failures and (check.can_rewrite or not _hit(said)):
            raise failures[0]
        return worst(said)

    async def _examine(self, check: Check, group: Sequence[Cut]) -> Judgement:
        passages = tuple(piece for piece, _ in group)
        if check.takes_question:
            check = check.after("\n".join([passage.text for passage in spoken(self._asked)]))
        key = self._verdicts.key(check, passages)
        if (known := self._verdicts.get(key)) is not None:
            return moved(known, group)
        judgement = await check.examine(passages, self._ask)
        if not isinstance(judgement, Judgement):
            raise CheckFault("gave no judgement")
        self._verdicts.put(key, judgement)
        return moved(judgement, group)

    async def _vote(self, jury: Jury, passages: Sequence[Passage]) -> Judgement:
        """All members at once; as soon as the others cannot change it, they are dropped."""
        said: dict[str, Judgement | None] = {}
        spoken = asyncio.Event()

        async def one(name: str, member: Check) -> None:
            judgement: Judgement | None
            try:
                judgement = await self.judge(member, passages)
            except Exception:  # noqa: BLE001 -- a check is a guest: without a judgement it has no vote
                judgement = None
            said[name] = judgement if isinstance(judgement, Judgement) else None
            spoken.set()

        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(one(name, member)) for name, member in jury.jurors().items()]
            while len(said) < len(running) and jury.decided(said) is None:
                await spoken.wait()
                spoken.clear()
            for task in running:
                task.cancel()
        return jury.judgement(dict(said))


async def judged_aside(check: Check, judge: Judge, passages: Sequence[Passage]) -> Judgement:
    """By a local check, on a thread."""
    return await aside(size_of(passages), judge, passages, apart=not check.built_in)


def size_of(passages: Sequence[Passage]) -> int:
    """Characters."""
    return sum([len(passage.text) for passage in passages])


def _hit(said: Sequence[Judgement]) -> bool:
    return any(judgement.hit for judgement in said)


def judging(check: Check, watch: Watch) -> Judge:
    """What is to be cut out must be told with its place."""
    return check.find if watch.rewrites else check.judge


def judged(watch: Watch, judgement: object) -> Finding:
    if not isinstance(judgement, Judgement):
        raise CheckFault("gave no judgement")
    return Finding(watch, Outcome.HIT if judgement.hit else Outcome.CLEAR, judgement)


def failed(watch: Watch, error: Exception) -> Finding:
    """Whatever goes wrong inside a check is a finding, never a crash; its words may hold text, so they stay out."""
    match error:
        case TimeoutError():
            note = "timed out"
        case CheckFault():
            note = str(error)
        case _:
            note = f"raised {type(error).__name__}"
            log.error("check_raised", check=watch.name, error=type(error).__name__)
    return Finding(watch, Outcome.FAILED, note=note)
