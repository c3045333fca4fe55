"""A policy in the making: checks that the loader takes, and tests that hold."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from gateway.checks import KINDS
from gateway.checks.panel import Jury
from gateway.policy import trial
from gateway.policy.importers.account import Account, Left, Node
from gateway.policy.load import PolicyError, read_policy
from gateway.policy.model import Policy, Trial

WORD = re.compile(r"[A-Za-z](?:[A-Za-z0-9_ .-]*[A-Za-z0-9])?\Z")
SPECIAL = frozenset("true false null yes no on off y n".split())
CALM = ("What is the capital of France?", "The train leaves at noon.", "Water boils when it is hot enough.")
PATIENCE = "10s"  # for models and services; the sources know no deadline, or a long one
MOST_MISTAKES = 2


@dataclass(frozen=True)
class Imported:
    """What became of one document."""

    name: str
    text: str  # the policy file; empty where nothing could be mapped
    checks: Sequence[str]
    tests: int
    mapped: Mapping[str, str]  # place in the document -> check
    left: Sequence[Left]
    aside: Sequence[Left]
    needs: Sequence[str]  # what the house must have before the policy loads


@dataclass
class Draft:
    """What an importer writes into. A check that the loader refuses is not taken; what it was made of is left."""

    name: str
    account: Account
    environ: Mapping[str, str] = field(default_factory=dict)
    presidio: str | None = None  # the url of an analyzer
    checks: dict[str, dict[str, Any]] = field(default_factory=dict)
    samples: dict[str, str] = field(default_factory=dict)  # by check: a text that it hits
    needs: dict[str, None] = field(default_factory=dict)

    @property
    def root(self) -> Node:
        return Node(self.account, (), self.account.document)

    def add(self, wanted: str, entry: dict[str, Any], sources: Sequence[Node], sample: str | None = None) -> str | None:
        """The name that the check got; None if it cannot be one, and then its sources are left."""
        name = free(slug(wanted), self.checks)
        mistakes = mistakes_of(name, entry)
        if mistakes:
            for source in sources:
                source.leave(f"cannot be a check of the kind '{entry['use']}': {'; '.join(mistakes[:MOST_MISTAKES])}")
            return None
        self.checks[name] = entry
        if sample is not None:
            self.samples[name] = sample
        for source in sources:
            source.take(name)
        self._need(entry)
        return name

    def _need(self, entry: Mapping[str, Any]) -> None:
        kind = KINDS[entry["use"]]
        named = entry.get("key_env") or ("key_env" in kind.model_fields and kind.model_fields["key_env"].default)
        if named:
            self.needs[f"the environment variable {named}, which holds the key of '{entry['use']}'"] = None
        elif entry["use"] == "bedrock":
            self.needs["AWS credentials, or an API key in AWS_BEARER_TOKEN_BEDROCK"] = None
        if "model" in kind.model_fields and entry["use"] != "nemo":
            self.needs[f"a model '{entry['model']}' of the house: in outrider.yaml, or of the default upstream"] = None

    def done(self, notes: Sequence[str]) -> Imported:
        self.account.close()
        where = dict(_mapped(self.account))
        tests = self._tests() if self.checks else []
        text = self._text(notes, tests) if self.checks else ""
        left, aside = tuple(self.account.left), tuple(self.account.aside)
        return Imported(self.name, text, tuple(self.checks), len(tests), where, left, aside, tuple(self.needs))

    def _document(self, tests: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        document: dict[str, Any] = {"policy": self.name}
        if any(not KINDS[entry["use"]].local for entry in self.checks.values()):
            document["defaults"] = {"timeout": PATIENCE}
        return {**document, "checks": self.checks, **({"tests": list(tests)} if tests else {})}

    def _text(self, notes: Sequence[str], tests: Sequence[Mapping[str, Any]]) -> str:
        told = [*notes, *_section("Before it loads, the house must have:", self.needs)]
        left = [f"{one.where} = {one.value}: {one.why}" for one in self.account.left]
        aside = [f"{one.where} = {one.value}: {one.why}" for one in self.account.aside]
        told += _section("Not mapped, or not quite:", left) + _section("Without a part in checking:", aside)
        head = "".join(f"# {line}".rstrip() + "\n" for line in told)
        return head + dumped(self._document(tests))

    def _tests(self) -> list[dict[str, Any]]:
        """Those of the tests that one would want which hold: nothing happens to a calm text, each check acts."""
        policy = read_policy(Path(f"{self.name}.yaml"), dumped(self._document([])))
        quiet = {path: "pass" for name, entry in policy.entries.items() for path in _asked(name, entry.check)}
        calm = (self._calm(text, quiet) for text in CALM)
        made = [next((test for test in calm if _holds(policy, test)), None)]
        made += [self._acting(policy, name, quiet) for name in self.checks]
        return [test for test in made if test is not None]

    def _calm(self, text: str, quiet: Mapping[str, str]) -> dict[str, Any]:
        return {"say": text, "reply": text, **({"given": dict(quiet)} if quiet else {}), "expect": "pass"}

    def _acting(self, policy: Policy, name: str, quiet: Mapping[str, str]) -> dict[str, Any] | None:
        entry = policy.entries[name]
        asked = _asked(name, entry.check)
        text = self.samples.get(name)
        if text is None and not asked:
            return None
        does = "flag" if entry.common.mode == "shadow" else entry.common.do
        side = "say" if any(place.side == "input" for place in entry.places) else "reply"
        given = {**quiet, **dict.fromkeys(asked, "block")}
        for expect in (does, "block"):  # a service that does not say where its hit is blocks
            test = {side: text or CALM[0], **({"given": given} if given else {}), "expect": {name: expect}}
            if _holds(policy, test):
                return test
        return None


def _asked(name: str, check: Any) -> list[str]:
    """Under which names a test gives what the check would be told."""
    if isinstance(check, Jury):
        return [f"{name}.{juror}" for juror in check.jurors()]
    return [] if check.local else [name]


def _holds(policy: Policy, test: Mapping[str, Any]) -> bool:
    try:
        return not trial.play(policy, Trial.model_validate(test))
    except trial.Unplayable:
        return False


def mistakes_of(name: str, entry: Mapping[str, Any]) -> list[str]:
    """What the loader says of a policy with this one check."""
    try:
        read_policy(Path("import.yaml"), dumped({"policy": "import", "checks": {name: dict(entry)}}))
    except PolicyError as error:
        return [mistake.message for mistake in error.mistakes]
    return []


def slug(text: str) -> str:
    plain = re.sub(r"[^a-z0-9_-]+", "-", text.lower()).strip("-_")[:48].rstrip("-_")
    return plain or "check"


def free(name: str, taken: Mapping[str, Any]) -> str:
    tries = (name if number == 1 else f"{name}-{number}" for number in range(1, len(taken) + 3))
    return next(one for one in tries if one not in taken)


def _mapped(account: Account) -> list[tuple[str, str]]:
    return [(Node(account, path, None).where, check) for path, check in account.mapped.items()]


def _section(head: str, lines: Any) -> list[str]:
    found = [f"  {line}" for line in lines]
    return ["", head, *found] if found else []


class _Dumper(yaml.SafeDumper):
    """Strings between quotes unless they are plain words, so that our own reader cannot take one for a number."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _string(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    plain = WORD.match(text) and text.lower() not in SPECIAL
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if plain else '"')


_Dumper.add_representer(str, _string)


def dumped(document: Mapping[str, Any]) -> str:
    return yaml.dump(
        dict(document), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=118, default_flow_style=None
    )


Importer = Callable[[Draft], Sequence[str]]
