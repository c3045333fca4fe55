"""What every check is: one class whose fields are its settings and whose method is its judgement."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any, ClassVar, Protocol, Self

from pydantic import BaseModel, ConfigDict, PrivateAttr

from gateway.checks.memory import Lately, digest_of
from gateway.checks.sieve import Sieve
from gateway.core.holdback import Hit, Scanner
from gateway.core.terms import INPUT_PLACES, OUTPUT_PLACES, Document, Judgement, Lane, Passage, Place, Request, Span

NOTHING = Judgement(hit=False)
CLEAR = 1_024  # texts that a check knows to hold nothing
LONGEST_QUESTION = 4_000  # characters of a question that are shown with its answer, the last ones


class CheckFault(Exception):
    """The check could not come to a judgement: the service failed, or its reply is not a verdict.

    The message goes to the receipt; it must not hold text of the exchange.
    """


@dataclass(frozen=True, slots=True)
class ServiceCall:
    """One POST of JSON to a service that is no model of the house."""

    url: str
    body: Mapping[str, Any]
    headers: Mapping[str, str] = field(default_factory=dict)
    sign: Callable[[str, bytes], Mapping[str, str]] | None = None  # more headers, from the URL and the body as sent


class Ask(Protocol):
    """The narrow port through which a check asks a model of the house, or a service.

    Behind it are the deadline, the retries, the breaker and the limit of calls at a time.
    """

    async def __call__(self, endpoint: str, model: str, body: Document) -> Document:
        """POST `body` to `endpoint` ("chat", "moderations") of the house model `model`.

        Returns the parsed JSON answer. Raises CheckFault when there is none.
        """
        ...

    async def post(self, call: ServiceCall) -> Any:
        """Send it. Returns the parsed JSON answer, whatever its type. Raises CheckFault when there is none."""
        ...


@lru_cache(1024)
def _digest(settings: str, read: str, question: str) -> str:
    told = f"{settings}\0{read}\0{question}"
    return hashlib.blake2b(told.encode(errors="surrogatepass"), digest_size=16).hexdigest()


class Check(BaseModel):
    """Settings and judgement of one kind. A kind fixes `use` to a Literal of its name."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True, strict=True)

    can_read: ClassVar[frozenset[Place]] = INPUT_PLACES | OUTPUT_PLACES
    can_rewrite: ClassVar[bool] = False  # tells where its hits are, so that they can be cut out
    lane: ClassVar[Lane] = Lane.WHOLE
    always_asked: ClassVar[bool] = False
    local: ClassVar[bool] = True  # False: calls a model or a service, so it runs beside
    inline: ClassVar[int] = 6_000  # characters that a local kind reads in half a millisecond; more go to a thread
    takes_question: ClassVar[bool] = False  # judges an answer better when it is shown what the user asked
    single: ClassVar[bool] = False  # reads one text in one call
    most: ClassVar[int | None] = None  # characters that it reads in one call; longer texts go in pieces that overlap

    use: str

    _question: str = PrivateAttr(default="")  # before the answer that is judged
    _sieve: Any = PrivateAttr(default=None)

    @property
    def built_in(self) -> bool:
        """Whether all of it is ours. Of others nobody knows what a look waits for."""
        return type(self).__module__.startswith("gateway.checks.")

    def after(self, question: str) -> Self:
        """The check for an answer to this question, which is shown and not judged."""
        if not question:
            return self
        asked = self.model_copy()
        asked._question = question[-LONGEST_QUESTION:]  # noqa: SLF001 -- its own copy
        return asked

    def read_from(self) -> str:
        """What its settings made it read from files: part of its version."""
        return ""

    @cached_property
    def _settings(self) -> str:
        return f"{type(self).__qualname__}\0{self.model_dump_json()}"

    @cached_property
    def _clear(self) -> Lately[bytes, bool]:
        """By digest, the texts in which `find` found nothing lately: each turn of a conversation brings all before it."""
        return Lately(CLEAR)

    def __copy__(self) -> Self:
        """Without what was worked out from the settings: a copy may have others."""
        made = super().__copy__()
        for name in ("_settings", "_clear"):
            made.__dict__.pop(name, None)
        return made

    @property
    def version(self) -> str:
        """A digest of everything that its verdict depends on, other than the text."""
        digest = _digest.__wrapped__ if self._question else _digest
        return digest(self._settings, self.read_from(), self._question)

    @property
    def follows(self) -> bool:
        """Whether it can follow an answer piece by piece: then `scanner` gives what does."""
        return False

    @cached_property
    def sieve(self) -> Sieve | None:
        """What says fast of most texts that it finds nothing in them, if it has patterns that can."""
        return None

    def _sieve_of(self, kind: type[Check]) -> Sieve | None:
        """The one that `kind` made, unless a kind that extends it judges in a way of its own."""
        same = all(
            getattr(type(self), name) is getattr(kind, name)
            for name in ("judge", "find", "scanner", "examine", "bound")
        )
        sieve: Sieve | None = self._sieve
        return sieve if same else None

    def scanner(self, *, settled: bool = False) -> Scanner:
        """A fresh scanner for one channel; finds in the pieces what `judge` finds in the whole.

        Settled: it tells a hit only once nothing that comes can change where it begins and ends.
        """
        raise NotImplementedError

    def bound(self, request: Request) -> Check:
        """The check for one request, where what it says depends on the request itself: its tools, its system prompt."""
        return self

    def find(self, passages: Sequence[Passage]) -> Judgement:
        """As `judge`, with the place of every hit: for kinds that can cut out what they find."""
        if (sieve := self.sieve) is not None and sieve.lets_pass(passages):
            return NOTHING
        spans: list[Span] = []
        for passage in passages:
            key = digest_of(passage.text)
            if self._clear.get(key):
                continue
            hits = self._hits(passage.text) if self._may_hit(passage.text) else []
            if not hits:
                self._clear[key] = True
            spans += [Span(passage.path, *hit) for hit in dict.fromkeys(hits)]
        named = tuple(dict.fromkeys(span.category for span in spans))
        return Judgement(bool(spans), named, paths=tuple(dict.fromkeys(s.path for s in spans)), spans=tuple(spans))

    def _hits(self, text: str) -> list[Hit]:
        scanner = self.scanner(settled=True)
        return [*scanner.feed(text).hits, *scanner.end().hits]

    def _may_hit(self, text: str) -> bool:
        """Whether a text is worth looking for the places of hits: for kinds that can tell it faster."""
        return True

    def judge(self, passages: Sequence[Passage]) -> Judgement:
        """Local kinds: a pure function from passages to a judgement."""
        raise NotImplementedError

    async def examine(self, passages: Sequence[Passage], ask: Ask) -> Judgement:
        """Every kind: what the race calls. A local kind just judges."""
        return self.judge(passages)

    def models(self) -> tuple[str, ...]:
        """The house models this check asks; the loader verifies that they exist."""
        return ()
