"""What every strategy's settings are: one class whose fields are its settings and whose method opens a contest."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from gateway.core.ballot import Reading, fold
from gateway.core.terms import Document
from gateway.fanout.contest import Contest, Task
from gateway.units import Delay, Duration, seconds


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)  # most are only parts of others


class Member(Model):
    """One voice of a fan-out: a model of the house, and how it is asked."""

    model: str = Field(min_length=1)
    name: str | None = Field(None, min_length=1, max_length=64)
    samples: int = Field(1, ge=1, le=64, description="how often it is asked")
    weight: float = Field(1.0, gt=0, le=1000)
    temperature: float | None = Field(None, ge=0, le=2)
    system_suffix: str | None = Field(None, description="added to the system message")

    @property
    def named(self) -> str:
        return self.name or self.model

    def document(self, asked: Document, sample: int) -> Document:
        """The client's request as this member is asked it; samples differ by their seed, if one is given."""
        made = dict(asked)
        if self.temperature is not None:
            made["temperature"] = self.temperature
        if sample and type(made.get("seed")) is int:
            made["seed"] += sample
        if self.system_suffix:
            made["messages"] = _suffixed(made["messages"], self.system_suffix)
        return made


def _suffixed(messages: list[Document], suffix: str) -> list[Document]:
    if messages and messages[0].get("role") in {"system", "developer"} and isinstance(messages[0].get("content"), str):
        first = {**messages[0], "content": f"{messages[0]['content']}\n\n{suffix}"}
        return [first, *messages[1:]]
    return [{"role": "system", "content": suffix}, *messages]


class Budget(Model):
    max_calls: int | None = Field(None, ge=1, description="calls of one request, judge and aggregator included")
    max_output_tokens: int | None = Field(None, ge=1, description="of all calls together")


class Escalate(Model):
    escalate: str = Field(min_length=1)


class Message(Model):
    message: str = Field(min_length=1)


Outcome = Literal["error", "best_effort"] | Escalate | Message


class Cluster(Model):
    """Texts that an embeddings model finds alike are the same answer."""

    model: str = Field(min_length=1, description="a model of the house whose upstream serves /embeddings")
    threshold: float = Field(0.9, gt=0, le=1, description="cosine similarity of every two in a group")


class Ballot(Model):
    """How an answer becomes a ballot."""

    type: Literal["label", "number", "bool", "date", "json", "literal", "tool_calls", "text"] = "text"
    select: Literal["auto", "whole", "last_line", "boxed", "fenced"] | dict[Literal["marker", "pointer"], str] = "auto"
    labels: list[str] = []
    synonyms: dict[str, str] = {}
    abstain: list[str] = Field([], description="answers that say that they give none")
    tolerance: float = Field(0.0, ge=0, description="numbers that differ by no more are the same")
    relative_tolerance: float = Field(0.0, ge=0, le=1)
    day_first: bool = False
    json_mode: Literal["whole", "fields"] = Field("whole", description="vote on documents, or on each of their fields")
    ignore: list[str] = Field([], description="paths of JSON that do not count, /like/*/this")
    unordered: list[str] = Field([], description="paths of lists whose order does not count")
    null_is_missing: bool = False
    cluster: Cluster | None = Field(None, description="of texts: which mean the same")

    @model_validator(mode="after")
    def _labelled(self) -> Ballot:
        if (self.type == "label") != bool(self.labels):
            raise ValueError("'labels' belong to the type 'label', and it needs them")
        if self.cluster is not None and self.type != "text":
            raise ValueError("'cluster' is for ballots of the type 'text'")
        unknown = set(self.synonyms.values()) - set(self.labels)
        if unknown:
            raise ValueError(f"a synonym stands for '{min(unknown)}', which is no label")
        return self

    @cached_property
    def reading(self) -> Reading:
        select = self.select if isinstance(self.select, str) else next(iter(self.select), "auto")
        given = {} if isinstance(self.select, str) else self.select
        labels = {fold(label): label for label in self.labels} | {fold(s): label for s, label in self.synonyms.items()}
        return Reading(
            self.type,
            select,
            marker=given.get("marker", ""),
            pointer=given.get("pointer", ""),
            labels=labels,
            abstain=frozenset(map(fold, self.abstain)),
            absolute=self.tolerance,
            relative=self.relative_tolerance,
            day_first=self.day_first,
            ignore=tuple(self.ignore),
            unordered=tuple(self.unordered),
            null_is_missing=self.null_is_missing,
        )


def _delay(value: Any) -> Any:
    return value if value == "p95" else seconds(value)


HedgeDelay = Annotated[Literal["p95"] | float, BeforeValidator(_delay)]


class Strategy(Model):
    """A virtual model. A strategy fixes `strategy` to a Literal of its name."""

    assembles: ClassVar[bool] = False  # its answer is put together here, so it is checked again as a whole

    strategy: str
    deadline: Duration = Field(60.0, validate_default=False, description="from the start to the decision")
    usage: Literal["sum", "winner"] = "sum"
    expose: Literal["none", "summary", "full"] = "summary"
    budget: Budget = Budget()
    keepalive: Delay = Field(1.0, validate_default=False, description="until a stream gets its first comment; 0: never")

    def models(self) -> Mapping[str, str]:
        """Every model of the house that it asks: where it is named -> its name."""
        raise NotImplementedError

    def traps(self) -> list[str]:
        """What can be meant so but hardly is."""
        return []

    @property
    def puts_together(self) -> bool:
        """Whether its answer may hold what no single member said."""
        return self.assembles

    def contest(self, asked: Document, facts: Facts) -> Contest:
        """A contest about this request."""
        raise NotImplementedError


class Facts(NamedTuple):
    """What a contest is told of the world when it opens."""

    seed: str = ""
    calibration: Mapping[str, Any] = {}
    p95: float | None = None  # seconds to the first words, seen lately
    may_hedge: bool = True


class Panel(Strategy):
    """A strategy whose members are given the same task."""

    members: list[Member] = Field(min_length=1, max_length=64)
    quorum: int | None = Field(None, ge=1, description="answers that must be there; default: more than half")
    grace: Delay = Field(2.0, validate_default=False, description="after the quorum, for those that are late")
    on_no_quorum: Outcome = "error"
    on_blocked_candidate: Literal["drop", "fail"] = "drop"

    @model_validator(mode="after")
    def _told_apart(self) -> Panel:
        names = [member.named for member in self.members]
        double = {name for name in names if names.count(name) > 1}
        if double:
            raise ValueError(f"two members are called '{min(double)}'; give one of them a 'name'")
        if self.quorum is not None and self.quorum > self.size:
            raise ValueError(f"'quorum' is {self.quorum} and there are only {self.size} answers")
        return self

    @cached_property
    def size(self) -> int:
        return sum(member.samples for member in self.members)

    @property
    def least(self) -> int:
        return self.quorum if self.quorum is not None else self.size // 2 + 1

    def models(self) -> Mapping[str, str]:
        return {f"members.{n}.model": member.model for n, member in enumerate(self.members)} | _escalated(self)

    def traps(self) -> list[str]:
        heaviest = max(member.weight * member.samples for member in self.members)
        rest = sum(member.weight * member.samples for member in self.members) - heaviest
        found = []
        if len(self.members) > 1 and heaviest > rest:
            found.append("one member weighs more than all others together: the others cannot outvote it")
        if self.budget.max_calls is not None and self.budget.max_calls < self.least:
            found.append("'budget.max_calls' is below the quorum: it can never be reached")
        return found

    def tasks(self, asked: Document) -> list[Task]:
        """Every call to a member, in the order of the configuration."""
        return [
            Task(name, member.model, self.bounded(member.document(asked, sample)), weight=member.weight, live=True)
            for name, member, sample in self._voices
        ]

    @cached_property
    def _voices(self) -> list[tuple[str, Member, int]]:
        """Every call's name, whom it asks, and for which of its samples."""
        return [
            (member.named if member.samples == 1 else f"{member.named}#{sample + 1}", member, sample)
            for member in self.members
            for sample in range(member.samples)
        ]

    def bounded(self, document: Document) -> Document:
        return bounded(document, self.budget, self.size)


def _escalated(strategy: Strategy) -> dict[str, str]:
    named = {name: getattr(strategy, name, None) for name in ("on_no_quorum", "on_no_consensus")}
    return {f"{name}.escalate": one.escalate for name, one in named.items() if isinstance(one, Escalate)}


def bounded(document: Document, budget: Budget, calls: int) -> Document:
    """Each call gets an equal part of the tokens that all may give, before any is made."""
    if budget.max_output_tokens is None:
        return document
    part = max(1, budget.max_output_tokens // min(calls, budget.max_calls or calls))
    name = "max_tokens" if "max_tokens" in document else "max_completion_tokens"
    wanted = document.get(name)
    return {**document, name: min(part, wanted) if type(wanted) is int else part}
