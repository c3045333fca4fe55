"""Checks on many texts: local ones here, the others by asking the models of the house and their services."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from gateway.checks.base import Check
from gateway.cli.labelled import Row, Unusable
from gateway.cli.progress import Progress
from gateway.config.load import load_house
from gateway.config.model import House
from gateway.core.terms import Examine, Judgement, Outcome, Passage, Place, Watch
from gateway.server.consult import Counsel, look_once
from gateway.server.spending import Spent
from gateway.server.targets import Targets
from gateway.server.upstreams import make_upstreams, scripts
from gateway.settings import SettingsError, load_settings
from gateway.yamlfile import FileError


@dataclass(frozen=True, slots=True)
class Said:
    """What a check said of one text."""

    row: Row
    judgement: Judgement | None  # None: it failed
    seconds: float
    why: str = ""  # it failed


def judged_here(check: Check, rows: Sequence[Row], place: Place) -> Iterator[Said]:
    """A local check, one text after the other."""
    with Progress("texts", len(rows)) as progress:
        for number, row in enumerate(rows, 1):
            judge = check.find if check.can_rewrite and row.spans is not None else check.judge
            started = time.perf_counter()
            judgement = judge([Passage("text", place, row.text)])
            yield Said(row, judgement, time.perf_counter() - started)
            progress.at(number)


def house_for(check: Check) -> House:
    """The house of the settings, which has the models that the check asks. Raises Unusable."""
    try:
        house = load_house(load_settings())
        scripts(house)
    except (SettingsError, FileError) as error:
        if check.models():
            raise Unusable(str(error)) from None
        return House.model_validate({"upstreams": {"none": {"scripted": []}}})  # a service needs none of its models
    for model in check.models():
        if house.route(model) is None:
            raise Unusable(f"the check asks the model '{model}', which no upstream has")
    return house


@dataclass(frozen=True)
class Asking:
    """How a check that asks is asked: so many texts at a time, each within its deadline."""

    place: Place
    timeout: float  # seconds
    at_once: int
    spent: Spent

    def judged(self, check: Check, rows: Sequence[Row]) -> list[Said]:
        """In the order in which they were answered. Raises Unusable."""
        house = house_for(check)
        with Progress("texts", len(rows)) as progress:
            return asyncio.run(self._ask_all(house, check, rows, progress.at))

    async def _ask_all(self, house: House, check: Check, rows: Sequence[Row], at: Callable[[int], None]) -> list[Said]:
        upstreams = make_upstreams(house)
        targets = Targets(house, upstreams, room=self.at_once)
        counsel = Counsel(targets.until)
        waiting, said = iter(rows), list[Said]()

        async def ask() -> None:
            for row in waiting:
                said.append(await self._ask(check, row, counsel))
                at(len(said))

        try:
            async with asyncio.TaskGroup() as tasks:
                for _ in range(self.at_once):
                    tasks.create_task(ask())
        finally:
            await targets.close()
            for upstream in upstreams.values():
                await upstream.close()
        return said

    async def _ask(self, check: Check, row: Row, counsel: Counsel) -> Said:
        watch = Watch("eval", self.place.side, frozenset({self.place}), timeout=self.timeout)
        shown = Examine(watch, (Passage("text", self.place, row.text),))
        started = time.perf_counter()
        finding = await look_once(check, shown, counsel, self.spent)
        took = time.perf_counter() - started
        if finding.outcome is Outcome.FAILED:
            return Said(row, None, took, finding.note)
        return Said(row, finding.judgement, took)
