"""From files to policies: all or none. Every mistake is told with its file, line and a suggestion."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from gateway import yamlfile
from gateway.checks import KINDS
from gateway.checks.base import Check
from gateway.checks.panel import Jury, panel_of
from gateway.core.terms import INPUT_PLACES, OUTPUT_PLACES, Place
from gateway.policy import trial
from gateway.policy.model import (
    PLACES,
    Common,
    Defaults,
    Entry,
    For,
    Head,
    Policy,
    PolicySet,
    Reply,
    ToolCall,
    Trial,
)
from gateway.wire.endpoints import NAMES as ENDPOINT_NAMES
from gateway.yamlfile import FileError, Loc, Mistake, Source, did_you_mean

BUILT_IN = Path(__file__).with_name("baseline.yaml")
Known = Callable[[str], bool]


class PolicyError(FileError):
    """What is wrong with the policies; nothing of them takes effect."""


def load_policies(
    path: Path,
    *,
    known_model: Known | None = None,
    keys: Collection[str] | None = None,
    tested: bool = True,
    keyless: bool = False,
) -> PolicySet:
    """A folder's *.yaml and *.yml, or one file. Raises PolicyError with every mistake found, failing tests included.

    `keys`: the names of the clients' keys, where a house is known that may have some.
    Keyless: the policies are read and tested, not served, so that the keys of services need not be there.
    """
    mistakes: list[Mistake] = []
    policies: dict[str, Policy] = {}
    for file in _files(path):
        source = yamlfile.read(file)
        source.keyless = keyless
        policy = _read(source, known_model, tested=tested)
        if policy is not None and keys is not None:
            _check_keys(policy.head, keys, source)
        if policy is not None and policy.name in policies:
            source.wrong(("policy",), f"there is a policy '{policy.name}' already: {policies[policy.name].path}")
        mistakes += source.mistakes
        if policy is not None and not source.mistakes:
            policies[policy.name] = policy
    if mistakes:
        raise PolicyError(mistakes)
    return PolicySet(tuple(policies[name] for name in sorted(policies)))


def read_policy(path: Path, text: str) -> Policy:
    """A policy that is no file yet, keyless and untested. Raises PolicyError."""
    source = yamlfile.parse(path, text.encode())
    source.keyless = True
    policy = _read(source, None, tested=False)
    if policy is None or source.mistakes:
        raise PolicyError(source.mistakes)
    return policy


def _read(source: Source, known_model: Known | None, *, tested: bool) -> Policy | None:
    policy = None if source.mistakes else _policy(source, known_model)
    if policy is not None and not source.mistakes and tested:
        _tried(policy, source)
    return policy


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.exists():
        raise PolicyError([Mistake(str(path), 0, 0, "does not exist; OUTRIDER_POLICIES names a folder or a file")])
    files = sorted(p for p in path.iterdir() if p.suffix in {".yaml", ".yml"} and p.is_file())
    if not files:
        raise PolicyError([Mistake(str(path), 0, 0, "holds no policy (*.yaml)")])
    return files


def _policy(source: Source, known_model: Known | None) -> Policy | None:
    if not isinstance(source.value, dict):
        source.wrong((), "must be a mapping with 'policy' and 'checks'")
        return None
    keys = {"for" if name == "for_" else name for name in Head.model_fields}
    try:
        head = Head.model_validate(source.value)
    except ValidationError as error:
        for one in error.errors():
            source.wrong_by_one(one, (), KEYS.get(_section(one["loc"]), keys))
        return None
    if head.opaque == "block" and "opaque" in head.checks:
        source.wrong(("checks", "opaque"), "'opaque: block' brings a check of this name; choose another")
    for number, name in enumerate(head.for_.endpoints or ()):
        if not any(fnmatchcase(endpoint, name) for endpoint in ENDPOINT_NAMES):
            where = ("for", "endpoints", number)
            source.wrong(where, f"there is no endpoint '{name}'{did_you_mean(name, ENDPOINT_NAMES)}")
    entries = {}
    for name, raw in head.checks.items():
        entry = _entry(name, raw, source, known_model)
        if entry is not None:
            entries[name] = entry
    if len(entries) == len(head.checks):
        _check_tests(head, entries, source)
    return Policy(source.path, _digest(source.raw, entries), head, entries)


def _digest(raw: bytes, entries: Mapping[str, Entry]) -> str:
    """Eight hex digits of the SHA-256 of a policy's file, and of the files that its checks have read."""
    made = hashlib.sha256(raw)
    for entry in entries.values():
        checks = entry.check.jurors().values() if isinstance(entry.check, Jury) else [entry.check]
        for read in [check.read_from() for check in checks]:
            if read:
                made.update(b"\0" + read.encode())
    return made.hexdigest()[:8]


def _section(loc: tuple[str | int, ...]) -> str:
    """Which part of a policy has the mistake, by the names of its keys: `tests.reply`."""
    return ".".join(str(step) for step in loc[:-1] if isinstance(step, str) and step != "for_")


KEYS = {
    "for": set(For.model_fields),
    "defaults": set(Defaults.model_fields),
    "tests": set(Trial.model_fields),
    "tests.reply": set(Reply.model_fields),
    "tests.reply.tool_calls": set(ToolCall.model_fields),
}


def _check_tests(head: Head, entries: Mapping[str, Entry], source: Source) -> None:
    """A test that names a check there is none of would be a test of nothing."""
    members = {
        f"{name}.{member}"
        for name, entry in entries.items()
        if isinstance(entry.check, Jury)
        for member in entry.check.jurors()
    }
    for number, test in enumerate(head.tests):
        here: Loc = ("tests", number)
        said = {(*here, "given", name): name for name in test.given}
        said |= {(*here, "fail", place): name for place, name in enumerate(test.fail)}
        for where, name in said.items():
            _check_name(name, {*entries, *members}, where, source)
        for name in test.expect if isinstance(test.expect, dict) else ():
            _check_name(name, set(entries), (*here, "expect", name), source)


def _check_name(name: str, known: set[str], where: Loc, source: Source) -> None:
    if name not in known:
        source.wrong(where, f"the policy has no check '{name}'{did_you_mean(name, known)}")


def _tried(policy: Policy, source: Source) -> None:
    """A policy whose own tests fail does not take effect."""
    for number, failures in trial.results(policy).items():
        for failure in failures[:1]:
            way = f" ({failure.way})" if failure.way else ""
            source.wrong(("tests", number), f"the test fails{way}: {failure.message}")


def _check_keys(head: Head, keys: Collection[str], source: Source) -> None:
    """A policy for keys that nobody has cannot act."""
    for number, name in enumerate(head.for_.keys or ()):
        if not any(fnmatchcase(key, name) for key in keys):
            where = ("for", "keys", number) if isinstance(source.value["for"]["keys"], list) else ("for", "keys")
            source.wrong(where, f"outrider.yaml has no key '{name}'{did_you_mean(name, keys)}")


def _entry(name: str, raw: dict[str, Any], source: Source, known_model: Known | None) -> Entry | None:
    base: Loc = ("checks", name)
    before = len(source.mistakes)
    if "of" in raw or "need" in raw:
        return _panel(name, raw, base, source, known_model)
    kind = _kind(raw.get("use", name), base, source)
    if kind is None or len(source.mistakes) > before:
        return None
    shared = {key: value for key, value in raw.items() if key in Common.model_fields}
    own = {key: value for key, value in raw.items() if key not in Common.model_fields}
    keys = set(Common.model_fields) | _parameters(kind)
    common = _validated(Common, shared, base, source, keys)
    check = _validated(kind, {"use": raw.get("use", name), **own}, base, source, keys)
    if common is None or check is None:
        return None
    if common.stream == "exact" and not check.follows:
        source.wrong((*base, "stream"), "this check cannot follow an answer piece by piece; use 'whole'")
    if common.stream == "window" and check.always_asked:
        source.wrong((*base, "stream"), "this check needs the whole answer; use 'whole'")
    if common.do in {"redact", "mask"}:
        _check_rewriting(common, kind, base, source)
    elif common.restore is not None:
        source.wrong((*base, "restore"), "only what 'do: mask' has hidden can be restored")
    places = _places(common, kind, base, source)
    _check_seen(common, check, places, base, source)
    _check_models(check, base, source, known_model)
    return Entry(name, common, check, places) if len(source.mistakes) == before else None


def _panel(name: str, raw: dict[str, Any], base: Loc, source: Source, known_model: Known | None) -> Entry | None:
    """Several checks that vote: each member has its kind and that kind's settings, everything else is the panel's."""
    before = len(source.mistakes)
    shared = {key: value for key, value in raw.items() if key in Common.model_fields and key != "use"}
    keys = {*Common.model_fields, "need", "of"}
    for key in set(raw) - keys:
        source.wrong(
            (*base, key), f"unknown key '{key}'{did_you_mean(key, keys)}; settings of a kind belong to a member of 'of'"
        )
    common = _validated(Common, shared, base, source, keys)
    listed = raw.get("of")
    if not isinstance(listed, dict) or not listed:
        source.wrong((*base, "of"), "'of' holds the checks of the panel, each under a name of its own")
        return None
    members: dict[str, Check] = {}
    places: frozenset[Place] = frozenset(PLACES["input"] | PLACES["output"])
    for member, given in listed.items():
        where: Loc = (*base, "of", member)
        settings = given if isinstance(given, dict) else {}
        kind = _kind(settings.get("use", member), where, source)
        if kind is None:
            continue
        check = _validated(
            kind, {"use": settings.get("use", member), **settings}, where, source, _parameters(kind) | {"use"}
        )
        if check is not None:
            members[member] = check
            places &= kind.can_read
            _check_models(check, where, source, known_model)
    need = raw.get("need", 1)
    if type(need) is not int or not 1 <= need <= len(listed):
        source.wrong((*base, "need"), f"'need' is a number from 1 to {len(listed)}, the checks of the panel")
    if common is None or len(source.mistakes) > before:
        return None
    if common.do in {"redact", "mask"} or common.stream == "exact":
        source.wrong((*base, "do"), "a panel says whether a text is a hit, not where: it can block or flag")
    wanted = [PLACES[place] for place in common.at or ("input", "output") if place in PLACES]
    read = frozenset(place for some in wanted for place in some) & places
    if not read:
        source.wrong((*base, "at"), "there is no place that all checks of this panel can read")
    on_error = common.on_error or (source.value.get("defaults") or {}).get("on_error", "block")
    check = panel_of(need, members, failed_hits=on_error == "block") if len(source.mistakes) == before else None
    if check is None:
        return None
    _check_seen(common, check, read, base, source)
    return Entry(name, common, check, read) if len(source.mistakes) == before else None


def _check_rewriting(common: Common, kind: type[Check], base: Loc, source: Source) -> None:
    """What is cut out must be known before it goes: of the question before the call, of the answer while it is held."""
    if not kind.can_rewrite:
        source.wrong((*base, "do"), f"a check of this kind does not tell where its hits are, so it cannot {common.do}")
    if common.stream in {"after", "window"}:
        source.wrong(
            (*base, "stream"), f"'{common.stream}' lets text go that may have to be cut; use 'exact' or 'whole'"
        )
    if common.when == "beside":
        source.wrong((*base, "when"), "a check that rewrites the question runs before the call")
    for number, name in enumerate(common.restore or ()):
        where = (*base, "restore", number)
        if common.do == "redact":
            source.wrong((*base, "restore"), "what is redacted is gone for good; 'do: mask' can be restored")
            break
        if name not in PLACES:
            source.wrong(where, f"there is no place '{name}'{did_you_mean(name, PLACES)}")
        elif not PLACES[name] <= OUTPUT_PLACES:
            source.wrong(where, f"'{name}' is not a place of the answer")


def _check_seen(common: Common, check: Check, places: frozenset[Place], base: Loc, source: Source) -> None:
    """What a check sees beside the text: the turns before the question, the question before the answer."""
    if common.history != "full" and not places & INPUT_PLACES:
        source.wrong((*base, "history"), "this check reads no text of the question")
    elif common.history == "cached" and check.local:
        source.wrong((*base, "history"), "a local check keeps no verdicts; use 'full' or 'skip'")
    elif common.history != "full" and common.do in {"redact", "mask"}:
        source.wrong((*base, "history"), f"a check with 'do: {common.do}' must read everything; use 'full'")
    if common.context == "exchange" and not check.takes_question:
        source.wrong((*base, "context"), "a check of this kind reads the answer alone")
    elif common.context is not None and not places & OUTPUT_PLACES:
        source.wrong((*base, "context"), "this check reads no text of the answer")


def _kind(word: Any, base: Loc, source: Source) -> type[Check] | None:
    where = (*base, "use")
    if isinstance(word, str) and word in KINDS:
        return KINDS[word]
    source.wrong(where, f"there is no kind of check '{word}'{did_you_mean(str(word), KINDS)}")
    return None


def _parameters(kind: type[Check]) -> set[str]:
    return {field.alias or name for name, field in kind.model_fields.items()}


def _validated(model: type[Any], value: Any, base: Loc, source: Source, keys: set[str]) -> Any:
    try:
        return model.model_validate(value, context={"folder": source.path.parent, "keyless": source.keyless})
    except ValidationError as error:
        source.wrong_by(error, base, keys)
        return None


def _places(common: Common, kind: type[Check], base: Loc, source: Source) -> frozenset[Place]:
    found: set[Place] = set()
    for number, name in enumerate(common.at or ("input", "output")):
        where = (*base, "at", number)
        if name not in PLACES:
            source.wrong(where, f"there is no place '{name}'{did_you_mean(name, PLACES)}")
        elif common.at is not None and not PLACES[name] & kind.can_read:
            source.wrong(where, f"a check of this kind cannot read '{name}'")
        else:
            found |= PLACES[name] & kind.can_read
    return frozenset(found)


def _check_models(check: Check, base: Loc, source: Source, known_model: Known | None) -> None:
    for model in check.models():
        if known_model is not None and not known_model(model):
            source.wrong((*base, "model"), f"the house has no model '{model}'; name it under 'models' in outrider.yaml")
