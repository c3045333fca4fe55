"""A panel: several checks that vote. A hit where `need` of them hit; a failed one has no vote, or counts as a hit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from pydantic import ConfigDict

from gateway.checks.base import Check
from gateway.core.holdback import Crowded
from gateway.core.terms import Judgement, Lane, Passage, Request


class Jury(Check):
    """A check that others decide: the shell asks its jurors at once and drops the rest when it is decided."""

    local: ClassVar[bool] = False
    lane: ClassVar[Lane] = Lane.WINDOW

    def jurors(self) -> Mapping[str, Check]:
        raise NotImplementedError

    def decided(self, said: Mapping[str, Judgement | None]) -> bool | None:
        """Whether it is a hit by those that have spoken (None: spoke without a verdict); None: the others may still change it.

        Raises CheckFault where all have spoken and it still is neither.
        """
        raise NotImplementedError

    def judgement(self, said: Mapping[str, Judgement | None]) -> Judgement:
        """What all of them together say."""
        raise NotImplementedError


class Panel(Jury):
    """Made by the loader from `need` and `of`; the race asks the members at once and decides as early as it can."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, arbitrary_types_allowed=True)

    use: str = "panel"
    need: int
    members: Mapping[str, Check]
    failed_hits: bool = True  # on_error: block

    def bound(self, request: Request) -> Check:
        bound = {name: member.bound(request) for name, member in self.members.items()}
        same = all(bound[name] is member for name, member in self.members.items())
        return self if same else self.model_copy(update={"members": bound})

    def jurors(self) -> Mapping[str, Check]:
        return self.members

    @property
    def takes_question(self) -> bool:  # type: ignore[override]
        return any(member.takes_question for member in self.members.values())

    def models(self) -> tuple[str, ...]:
        return tuple(model for member in self.members.values() for model in member.models())

    def judge(self, passages: Sequence[Passage]) -> Judgement:
        """A panel of local checks: no one waits for another."""
        said: dict[str, Judgement | None] = {}
        for name, member in self.members.items():
            try:
                said[name] = member.judge(passages)
            except Crowded:
                raise
            except Exception:  # noqa: BLE001 -- a check is a guest: without a judgement it has no vote
                said[name] = None
            if self.decided(said) is not None:
                break
        return self.judgement(said)

    def decided(self, said: Mapping[str, Judgement | None]) -> bool | None:
        """Whether it is a hit by those that have spoken; None: the others may still change it."""
        hits = sum(self._is_hit(one) for one in said.values())
        if hits >= self.need:
            return True
        return None if hits + len(self.members) - len(said) >= self.need else False

    def _is_hit(self, one: Judgement | None) -> bool:
        return self.failed_hits if one is None else one.hit

    def judgement(self, said: Mapping[str, Judgement | None]) -> Judgement:
        """What all of them together say; the categories name the members that hit."""
        hit = bool(self.decided(said))
        told = {name: one for name, one in said.items() if one is not None}
        named = [name for name, one in said.items() if self._is_hit(one)]
        named += [f"{name}.{category}" for name, one in told.items() if one.hit for category in one.categories]
        usage: dict[str, int] = {}
        for one in told.values():
            for key, value in (one.usage or {}).items():
                usage[key] = usage.get(key, 0) + value
        paths: dict[str, None] = dict.fromkeys(path for one in told.values() if one.hit for path in one.paths)
        failed = [name for name, one in said.items() if one is None]
        note = f"no vote of {', '.join(failed)}" if failed else ""
        return Judgement(
            hit, tuple(named) if hit else (), paths=tuple(paths) if hit else (), note=note, usage=usage or None
        )


class LocalPanel(Panel):
    """A panel whose members all are local: it runs before the call, where they would."""

    local: ClassVar[bool] = True
    lane: ClassVar[Lane] = Lane.WHOLE
    inline: ClassVar[int] = 3_000


def panel_of(need: int, members: Mapping[str, Check], **more: Any) -> Panel:
    kind = LocalPanel if all(member.local for member in members.values()) else Panel
    return kind(need=need, members=dict(members), **more)
