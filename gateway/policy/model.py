"""The policy file: these models are its only definition.

A check entry mixes the keys that every check has (`Common`) with the parameters of its kind; the
loader takes them apart.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from gateway.checks.base import Check
from gateway.core.terms import INPUT_PLACES, OUTPUT_PLACES, Place
from gateway.units import Duration

Mode = Literal["enforce", "shadow", "disabled"]
BlockAs = Literal["error", "message", "refusal"]
OnError = Literal["block", "allow"]
REFUSAL = "I'm sorry, I can't help with that request."

GROUPS: dict[str, frozenset[Place]] = {"input": INPUT_PLACES, "output": OUTPUT_PLACES}
PLACES: dict[str, frozenset[Place]] = {**GROUPS, **{str(place): frozenset({place}) for place in Place}}


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Names = Annotated[list[str], BeforeValidator(_listed, json_schema_input_type=str | list[str]), Field(min_length=1)]
Restored = Annotated[list[str], BeforeValidator(_listed, json_schema_input_type=str | list[str])]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)  # most are only parts of others


class For(_Model):
    """Which requests a policy is for; a list holds glob patterns, an absent one is all."""

    models: Names | None = Field(None, description="the model that was asked for, or that it stands for")
    keys: Names | None = Field(None, description="the name of the client's key")
    endpoints: Names | None = Field(None, description="chat, responses, completions, embeddings, ...")


class Defaults(_Model):
    """What holds for the checks of a policy that say nothing else."""

    timeout: Duration = Field(2.0, description="seconds that one look may take")
    on_error: OnError = Field("block", description="what a look that failed does")


Words = Annotated[list[str], BeforeValidator(_listed, json_schema_input_type=str | list[str])]
Expected = Literal["pass", "flag", "mask", "redact", "block"]


def _as_arguments(value: Any) -> Any:
    if value is not None and not isinstance(value, (str, dict)):
        raise ValueError("are text, or a mapping that the text would say")
    return value


Arguments = Annotated[Any, BeforeValidator(_as_arguments, json_schema_input_type=str | dict[str, Any] | None)]


class ToolCall(_Model):
    """A call of a tool in a reply: by `name` and `arguments`, or as the API has it, with `function`."""

    name: str | None = Field(None, description="of the tool")
    arguments: Arguments = Field(None, description="as text, or as what the text would say")
    id: str | None = Field(None, description="absent: one by its number")
    type: Literal["function"] = Field("function", description="as the API has it")
    function: dict[str, Any] | None = Field(None, description="`name` and `arguments`, as the API has them")

    @model_validator(mode="after")
    def _named(self) -> Self:
        if (self.name is None) == (self.function is None):
            raise ValueError("a tool call has 'name' and 'arguments', or 'function' with both")
        if [type(one) for one in self.called.values()] != [str, str]:
            raise ValueError("a tool call has a 'name', and 'arguments' that are text or a mapping")
        return self

    @property
    def called(self) -> dict[str, Any]:
        """The name and the arguments, as text."""
        told = self.function or {"name": self.name, "arguments": self.arguments}
        given = told.get("arguments")
        said = "{}" if given is None else json.dumps(given, ensure_ascii=False) if isinstance(given, dict) else given
        return {"name": told.get("name"), "arguments": said}


class Reply(_Model):
    """What the model answers: a message of the assistant."""

    role: Literal["assistant"] = Field("assistant", description="as the API has it")
    content: str | None = Field(None, description="the text of the answer")
    refusal: str | None = Field(None, description="its text where the model declines")
    reasoning_content: str | None = Field(None, description="what the model thinks aloud first")
    tool_calls: list[ToolCall] = Field([], description="tools that it calls")


def _as_reply(value: Any) -> Any:
    return {"content": value} if isinstance(value, str) else value


Answer = Annotated[Reply, BeforeValidator(_as_reply, json_schema_input_type=str | Reply)]


class Trial(_Model):
    """A test of the policy: what is said and replied, and what is to come of it. Played plain and streamed."""

    name: str | None = Field(None, description="what a report calls it")
    say: str | None = Field(None, description="the user's message")
    messages: list[dict[str, Any]] | None = Field(None, description="the whole conversation instead")
    request: dict[str, Any] = Field({}, description="more fields of the request")
    model: str = Field("test", description="the model that is asked for")
    reply: Answer = Field(
        default="All is well.",
        validate_default=True,
        description="what the model answers: its text, or a message with `tool_calls`",
    )
    stream: Literal["every_split"] | None = Field(None, description="cut the reply at every place")
    given: dict[str, Literal["pass", "block", "hit"]] = Field({}, description="what checks that ask a model say")
    fail: Words = Field([], description="checks that fail")
    expect: Expected | dict[str, Expected] = Field(description="the outcome, or what single checks do")
    upstream_contains: Words = Field([], description="texts that the question must hold as the upstream gets it")
    upstream_not_contains: Words = Field([], description="texts that it must not hold")
    client_contains: Words = Field([], description="texts that the answer must hold as the client gets it")
    client_not_contains: Words = Field([], description="texts that it must not hold")

    @model_validator(mode="after")
    def _one_question(self) -> Self:
        if self.say is not None and self.messages is not None:
            raise ValueError("give 'say' or 'messages', not both")
        return self


class Head(_Model):
    """The keys of a policy, its checks still unread."""

    policy: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$", description="its name")
    for_: For = Field(For(), alias="for", description="which requests it is for; absent: all")
    mode: Mode = Field("enforce", description="shadow: looks on and changes nothing; disabled: is not there")
    refusal: str = Field(
        REFUSAL, min_length=1, max_length=4000, description="what a block says with `block_as: message` or `refusal`"
    )
    block_as: BlockAs = Field(
        "error", description="how a block is told: an error, an answer of the model, or a refusal of the model"
    )
    opaque: Literal["allow", "block"] = Field("allow", description="what becomes of parts that no check can read")
    defaults: Defaults = Field(Defaults(), description="for checks that say nothing else")
    checks: dict[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")], dict[str, Any]] = Field(
        min_length=1, description="each with a name: the keys of every check, and those of its kind"
    )
    tests: list[Trial] = Field([], description="played at every load; one that fails refuses the file")


class Common(_Model):
    """The keys that every check has, whatever its kind."""

    use: str | None = Field(None, description="the kind; absent: the check's own name")
    at: Names | None = Field(None, description="places; absent: input and output as far as the kind can read")
    do: Literal["block", "redact", "mask", "flag"] = Field("block", description="what a hit does")
    restore: Restored | None = Field(
        None, description="of a mask: places of the answer where placeholders become the values again"
    )
    when: Literal["before", "beside"] | None = Field(None, description="when an input check runs")
    stream: Literal["exact", "window", "whole", "after"] | None = Field(None, description="how output is held back")
    history: Literal["full", "cached", "skip"] = Field(
        "full", description="what an input check is shown of the turns before the model's last answer"
    )
    context: Literal["exchange", "none"] | None = Field(
        None, description="what a check of the answer that asks a model sees beside it: the user's turn, or nothing"
    )
    timeout: Duration | None = Field(None, description="seconds that one look may take")
    on_error: OnError | None = Field(None, description="what a failure does")
    mode: Mode | None = Field(None, description="enforce, shadow or disabled")


@dataclass(frozen=True)
class Entry:
    """One check of a policy, read: what every check has, and the kind with its parameters."""

    name: str
    common: Common
    check: Check
    places: frozenset[Place]


@dataclass(frozen=True)
class Policy:
    """One file, read and found able to act."""

    path: Path
    hash: str  # 8 hex digits of a digest of the file and of the files that its checks have read
    head: Head
    entries: Mapping[str, Entry]

    @property
    def name(self) -> str:
        return self.head.policy

    @property
    def version(self) -> str:
        return f"{self.name}@{self.hash}"


@dataclass(frozen=True)
class PolicySet:
    """All policies of one load. A request sees one set from start to end."""

    policies: tuple[Policy, ...]
    plans: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)  # made by plan.py
    bindings: dict[Any, Any] = field(
        default_factory=dict, compare=False, repr=False
    )  # the same: which policies bind whom
    sieves: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)  # the same, by the checks in them
