"""Which checks watch a request: all matching policies together, so that none can weaken another."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import cached_property, partial
from typing import Any

from gateway.checks.base import Check
from gateway.checks.sieve import CommonSieve
from gateway.core.exchange import Layout
from gateway.core.holdback import Follow
from gateway.core.terms import (
    UNREAD_PLACES,
    Action,
    Finding,
    History,
    Judgement,
    Lane,
    Outcome,
    Passage,
    Place,
    Request,
    Side,
    Watch,
    When,
)
from gateway.core.windows import MOST
from gateway.policy.model import PLACES, REFUSAL, BlockAs, Common, Entry, Policy, PolicySet

ACTIONS = {"block": Action.BLOCK, "redact": Action.REDACT, "mask": Action.MASK, "flag": Action.FLAG}
RESTORED = ("content", "tool_call")  # where a mask is undone unless its policy says otherwise
STRICTNESS: tuple[BlockAs, ...] = ("error", "refusal", "message")  # the first that any policy asks for
MOST_KEPT = 1000  # plans of one policy set, and of which policies bind whom
LONGEST_NAME = 200  # characters of a model in one that is kept
MOST_SIEVES = 8  # kept for one policy set: each takes memory


class Opaque(Check):
    """`opaque: block` of a policy: a hit where something cannot be read."""

    use: str = "opaque"

    def judge(self, passages: Sequence[Passage]) -> Judgement:
        return Judgement(bool(passages), ("opaque",), paths=tuple(p.path for p in passages))


OPAQUE = Entry("opaque", Common(), Opaque(), UNREAD_PLACES)


@dataclass(frozen=True)
class Plan:
    """What holds for one request: its watches, the checks behind them, and how a block is said."""

    watches: tuple[Watch, ...]
    checks: Mapping[str, Check]  # by the watch's name, policy.check
    policies: tuple[str, ...]  # name@hash
    block_as: BlockAs = "error"
    refusal: str = REFUSAL
    sieve: CommonSieve | None = None  # what says of several checks at once that they find nothing

    @cached_property
    def follows(self) -> Mapping[str, Follow]:
        """What can follow an answer as it comes, by the watch's name."""
        cuts = {watch.name for watch in self.watches if watch.rewrites}
        return {
            name: partial(check.scanner, settled=True) if name in cuts else check.scanner
            for name, check in self.checks.items()
            if check.follows
        }

    def bound(self, request: Request) -> Plan:
        """The plan for this very request: some checks read it."""
        if not self._readers:
            return self
        found = {name: bound for name, check in self._readers.items() if (bound := check.bound(request)) is not check}
        return replace(self, checks={**self.checks, **found}) if found else self

    @cached_property
    def _readers(self) -> Mapping[str, Check]:
        """The checks of a kind that may read a request."""
        return {name: check for name, check in self.checks.items() if type(check).bound is not Check.bound}

    @cached_property
    def layouts(self) -> Mapping[bool, Layout]:
        """Who reads what in its exchanges, by whether they are streamed."""
        return {stream: Layout(self.watches, self.follows, stream=stream) for stream in (False, True)}

    @cached_property
    def layouts_of_candidates(self) -> Mapping[bool, Layout]:
        """The same for the members of a virtual model: their question is checked once for all."""
        answer = [watch for watch in self.watches if watch.side is Side.OUTPUT]
        return {stream: Layout(answer, self.follows, stream=stream) for stream in (False, True)}

    def layout_of_contest(self, *, puts_together: bool, stream: bool) -> Layout:
        """The same for a virtual model: its candidates have been checked, unless it puts an answer together itself.

        Local checks look again: they read what the client will.
        """
        key = (puts_together, stream)
        if key not in self._of_contests:
            watches = [watch for watch in self.watches if watch.side is Side.INPUT or watch.local or puts_together]
            self._of_contests[key] = Layout(watches, self.follows, stream=stream)
        return self._of_contests[key]

    @cached_property
    def _of_contests(self) -> dict[tuple[bool, bool], Layout]:
        return {}

    @cached_property
    def local(self) -> bool:
        """Whether every check that an answer waits for runs in this process."""
        return all(self.checks[watch.name].local for watch in self.watches if watch.gates)

    @cached_property
    def rewrites(self) -> bool:
        """Whether the question or the answer may have to be changed."""
        return any(watch.rewrites for watch in self.watches)


def plan(policies: PolicySet, *, models: Collection[str], endpoint: str, key: str | None = None) -> Plan:
    """The plan for a request. `models`: the name that the client used and the upstream's own.

    `key`: the name of the client's key; None: of any, so every policy for some keys binds.
    """
    asked = (tuple(models), endpoint, key)
    binding: tuple[int, ...] | None = policies.bindings.get(asked)
    if binding is None:
        binding = tuple([n for n, one in enumerate(policies.policies) if _binds(one, models, endpoint, key)])
        if all(len(name) <= LONGEST_NAME for name in models):
            _keep(policies.bindings, asked, binding)
    kept: Plan | None = policies.plans.get((binding, endpoint))
    if kept is None:
        kept = _made(policies, [policies.policies[number] for number in binding], endpoint)
        _keep(policies.plans, (binding, endpoint), kept)
    return kept


def _keep(kept: dict[Any, Any], key: Any, value: Any) -> None:
    """Keep it, and so many at most: clients choose the names of models, and few of them are asked for again and again."""
    if len(kept) >= MOST_KEPT:
        kept.clear()
    kept[key] = value


def _made(policies: PolicySet, binding: Sequence[Policy], endpoint: str) -> Plan:
    watches: list[Watch] = []
    checks: dict[str, Check] = {}
    for policy in binding:
        entries = policy.entries.values() if policy.head.opaque == "allow" else (*policy.entries.values(), OPAQUE)
        for entry in entries:
            made = [w for w in _watches(policy, entry) if _applies(w, policy, endpoint)]
            watches += made
            if made:
                checks[made[0].name] = entry.check
    said = {p.head.block_as for p in binding}
    saying: BlockAs = next((way for way in STRICTNESS if way in said), "error")
    words = next((p.head.refusal for p in binding if p.head.block_as == saying), REFUSAL)
    versions = tuple(p.version for p in binding)
    return Plan(tuple(watches), checks, versions, saying, words, _sieve(policies, checks))


def _sieve(policies: PolicySet, checks: Mapping[str, Check]) -> CommonSieve | None:
    """One for all plans with the same checks; none where it would ask no more than the checks themselves."""
    sieves = {name: check.sieve for name, check in checks.items() if check.sieve is not None}
    if len(sieves) < 2:
        return None
    wanted = tuple(sieves)  # within one set of policies a name is one check
    if wanted not in policies.sieves and len(policies.sieves) < MOST_SIEVES:
        policies.sieves[wanted] = CommonSieve(sieves)
    kept: CommonSieve | None = policies.sieves.get(wanted)
    return kept


def plan_for(policy: Policy, request: Request) -> Plan:
    """The plan of one policy for a request, whatever requests it is for."""
    entries = policy.entries.values() if policy.head.opaque == "allow" else (*policy.entries.values(), OPAQUE)
    made = [(watch, entry.check) for entry in entries for watch in _watches(policy, entry)]
    checks = {watch.name: check for watch, check in made}
    watches = tuple(watch for watch, _ in made)
    return Plan(watches, checks, (policy.version,), policy.head.block_as, policy.head.refusal).bound(request)


def watches_of(policy: Policy) -> tuple[list[Watch], Mapping[str, Check]]:
    """All watches of one policy as if it were enforced everywhere, and the checks behind them."""
    watches: list[Watch] = []
    checks: dict[str, Check] = {}
    for entry in policy.entries.values():
        made = [replace(watch, shadow=False) for watch in _watches(policy, entry)]
        watches += made
        checks |= {watch.name: entry.check for watch in made}
    return watches, checks


def _binds(policy: Policy, models: Collection[str], endpoint: str, key: str | None) -> bool:
    if policy.head.mode == "disabled":
        return False
    wanted = policy.head.for_
    # A request that names no model may reach any: every policy binds it.
    model = wanted.models is None or any(not m or fnmatchcase(m, p) for m in models for p in wanted.models)
    asker = wanted.keys is None or key is None or any(fnmatchcase(key, pattern) for pattern in wanted.keys)
    return model and asker and (wanted.endpoints is None or any(fnmatchcase(endpoint, p) for p in wanted.endpoints))


def _applies(watch: Watch, policy: Policy, endpoint: str) -> bool:
    """What is sent to be moderated may hold anything, unless a policy names that endpoint itself."""
    return watch.side is Side.OUTPUT or endpoint != "moderations" or endpoint in (policy.head.for_.endpoints or ())


def _watches(policy: Policy, entry: Entry) -> Iterator[Watch]:
    """One watch for each side that the check reads."""
    common, head = entry.common, policy.head
    mode = common.mode or head.mode
    if mode == "disabled":
        return
    for side in Side:
        places = frozenset(place for place in entry.places if place.side is side)
        if not places:
            continue
        rewrites = common.do in {"mask", "redact"}  # then it must be known before anything goes, and of the very text
        before = entry.check.local or rewrites or common.when == "before"
        yield Watch(
            f"{policy.name}.{entry.name}",
            side,
            places,
            ACTIONS[common.do],
            fails_open=(common.on_error or head.defaults.on_error) == "allow",
            when=When.BEFORE if before else When.BESIDE,
            lane=_lane(entry),
            shadow=mode == "shadow" or head.mode == "shadow",
            timeout=common.timeout or head.defaults.timeout,
            always_asked=entry.check.always_asked,
            local=entry.check.local or rewrites,
            history=History(common.history),
            exchange=entry.check.takes_question and common.context != "none",
            restore=_restored(common),
        )


def _restored(common: Common) -> frozenset[Place]:
    if common.do != "mask":
        return frozenset()
    named = RESTORED if common.restore is None else common.restore
    return frozenset(place for name in named for place in PLACES[name])


def _lane(entry: Entry) -> Lane:
    """As the policy says; else a check that can follow an answer does."""
    if entry.common.stream is not None:
        return Lane(entry.common.stream)
    if entry.check.follows:
        return Lane.EXACT
    return Lane.WHOLE if entry.common.do in {"mask", "redact"} else entry.check.lane


def bound(watch: Watch) -> str:
    """How many characters of an answer may be out before this check can stop it, in words."""
    if watch.side is Side.INPUT or not watch.gates:
        return "-"
    return "0" if watch.holds else "all"


def wait(watch: Watch) -> str:
    """What waiting this check adds to a stream, in words."""
    if not watch.gates:
        return "none"
    if watch.side is Side.INPUT:
        return "its own time" if watch.when is When.BEFORE else "what it takes longer than the first words"
    match watch.lane:
        case Lane.EXACT:
            return "only for text that may still become a hit"
        case Lane.WINDOW:
            return f"a sentence (up to {MOST} characters) and its own time"
        case Lane.WHOLE:
            return "the whole answer"
        case Lane.AFTER:
            return "none"


def failing(watch: Watch) -> str:
    """What comes of a look that fails, in words: it asks for what any finding asks for."""
    action = Finding(watch, Outcome.FAILED).action
    if watch.shadow:
        return "nothing: it only looks on"
    if action is Action.PASS:
        return "lets pass, and the receipt counts it"
    if action is Action.FLAG:
        return "flags, and lets pass"
    if watch.side is Side.INPUT:
        before = watch.when is When.BEFORE
        return "blocks: the upstream is not asked" if before else "blocks: the call is dropped, nothing has left"
    return (
        "blocks: nothing more leaves"
        if watch.lane in {Lane.EXACT, Lane.WINDOW, Lane.AFTER}
        else "blocks: nothing leaves"
    )
