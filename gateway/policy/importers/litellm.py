"""LiteLLM's configuration: the list `guardrails:` of its config.yaml."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gateway.policy.importers.account import REFERENCE, Node
from gateway.policy.importers.draft import Draft, slug
from gateway.policy.importers.entities import SAMPLES, personal
from gateway.policy.importers.openai_guardrails import MODERATION, patterns

TITLE = "LiteLLM"
NOTES = (
    "There, a client may name the guardrails that it wants; here nothing in a request decides that: a check",
    "holds for all that the policy is for. `for: {models: …}` narrows it down.",
)
GUARDED = re.compile(r"guard|moderation|presidio|lakera|prompt_injection|hide_secrets|policies|policy_attachments")
ELSEWHERE = "no guardrail: see outrider.yaml for models, and the settings OUTRIDER_*"
INPUT = ["user", "assistant", "attachment", "other_input"]
OPENING = "Does the text fail this requirement? {}"
PREBUILT = {
    "us_ssn": "ssn",
    "email": "email",
    "phone": "phone",
    "us_phone": "phone",
    "iban": "iban",
    "ipv4": "ip",
    "ipv6": "ip",
    "mac_address": "mac",
    **dict.fromkeys("visa mastercard amex discover credit_card".split(), "card"),
}
TOKENS = {
    "aws_access_key": ["aws_client_id"],
    "github_token": ["github_token", "github_app_installation_token", "github_app_key", "github_fine_granted_token"],
}
HIDDEN = "a key is never in a policy: put it into the environment under the name that 'key_env' says"


@dataclass
class Guardrail:
    """One entry of the list, and what of it holds whatever its kind is."""

    draft: Draft
    node: Node
    name: str
    at: list[str] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    sources: list[Node] = field(default_factory=list)
    made: list[str] = field(default_factory=list)

    @property
    def params(self) -> Node:
        return self.node["litellm_params"]

    def add(self, entry: dict[str, Any], *more: Node, name: str = "", sample: str | None = None) -> str | None:
        wanted = f"{self.name}-{name}" if name else self.name
        made = self.draft.add(wanted, {**entry, "at": self.at, **self.settings}, [*self.sources, *more], sample)
        self.made += [made] if made else []
        return made

    def address(self, *names: str) -> tuple[str | None, list[Node]]:
        """The url that the first of these settings holds, or the environment that it refers to."""
        for name in names:
            node = self.params[name]
            text = node.text()
            if text is None:
                continue
            url = self.draft.environ.get(text.removeprefix(REFERENCE)) if text.startswith(REFERENCE) else text
            if url:
                return url.rstrip("/"), [node]
            node.leave(
                "the address stands in the environment; set the variable and import again, or write 'url' yourself"
            )
        return None, []

    def key(self) -> tuple[dict[str, Any], list[Node]]:
        """The variable that holds the key, where the document names one."""
        node = self.params["api_key"]
        text = node.text() or ""
        if text.startswith(REFERENCE):
            return {"key_env": text.removeprefix(REFERENCE)}, [node]
        node.leave(HIDDEN)
        return {}, []


def recognises(document: Any) -> bool:
    if not isinstance(document, dict):
        return False
    return isinstance(document.get("guardrails"), list) or "model_list" in document or "litellm_settings" in document


def convert(draft: Draft) -> Sequence[str]:
    root = draft.root
    for node in root["guardrails"].items():
        _guardrail(draft, node)
    for part in root.items():
        if part.name != "guardrails":
            _elsewhere(part)
    return NOTES


def _elsewhere(part: Node) -> None:
    """What is no guardrail is beside the point, unless it speaks of guardrails after all."""
    if GUARDED.search(part.name):
        part.leave("only the list 'guardrails' is imported")
        return
    for path in [path for path in part.account.open if path[:1] == part.path]:
        said = "/".join(str(step) for step in path[1:]) + f"/{part.account.open[path]}"
        if GUARDED.search(said.lower()):
            Node(part.account, path, None).leave("only the list 'guardrails' is imported")
    part.put_aside(ELSEWHERE)


def _guardrail(draft: Draft, node: Node) -> None:
    params = node["litellm_params"]
    kind = params["guardrail"].text() or ""
    make = MAKERS.get(kind)
    if make is None:
        node.leave("there is no kind that asks this service; a service of one's own can be asked by 'webhook'")
        return
    found = Guardrail(draft, node, node["guardrail_name"].text() or kind)
    found.sources = [node["guardrail_name"], params["guardrail"]]
    if not _placed(found):
        node.leave("it has no mode that Outrider knows: pre_call, during_call, post_call or logging_only")
        return
    _failing(found)
    make(found)
    if found.made and params["default_on"].value is not True:
        params["default_on"].differs("there it runs only where it is asked for, here always")
    if found.made:
        params["default_on"].take(found.made[0])
    node["guardrail_info"].put_aside("tells people about it")
    for inner in params.items() if found.made else ():
        inner.leave("not known to this importer for this guardrail")
    node.leave("not known to this importer" if found.made else "nothing of it could be mapped")


def _placed(found: Guardrail) -> bool:
    """Where and when it runs."""
    mode = found.params["mode"]
    listed = mode["default"] if mode.is_a(dict) else mode
    nodes = listed.items() if isinstance(listed.value, list) else [listed]
    modes = {str(one.value).lower(): one for one in nodes if str(one.value).lower() in MODES}
    inputs = {"pre_call", "during_call"} & set(modes)
    if not modes:
        return False
    found.at = (["input"] if inputs else []) + (["output"] if "post_call" in modes else [])
    if set(modes) == {"logging_only"}:
        found.at, found.settings["mode"] = ["input", "output"], "shadow"
    if "pre_call" in modes:
        found.settings["when"] = "before"
    found.sources += modes.values()
    _narrowed(found)
    return True


MODES = ("pre_call", "during_call", "post_call", "logging_only")


def _narrowed(found: Guardrail) -> None:
    """Roles that it does not read."""
    places = ["system", "user", "assistant", "tool_result", "tool_definition", "attachment", "other_input"]
    without = set()
    for key, place in (
        ("skip_system_message_in_guardrail", "system"),
        ("skip_tool_message_in_guardrail", "tool_result"),
    ):
        if found.params[key].is_a(bool) and "input" in found.at:
            found.sources.append(found.params[key])
            without |= {place} if found.params[key].value else set()
    if without:
        rest = [place for place in places if place not in without]
        found.at = [*rest, *(one for one in found.at if one != "input")]


def _failing(found: Guardrail) -> None:
    """What a failure is, and when it is one."""
    params = found.params
    for key, open_ in (
        ("unreachable_fallback", "fail_open"),
        ("fail_on_error", False),
        ("mask_pii_fail_closed", False),
    ):
        if key in params and params[key].value in (open_, not open_, "fail_closed"):
            if params[key].value == open_:
                found.settings["on_error"] = "allow"
            found.sources.append(params[key])
    seconds = params["timeout"].number()
    if seconds is not None and 0.001 <= seconds <= 86_400:
        found.settings["timeout"] = f"{round(seconds * 1000)}ms"
        found.sources.append(params["timeout"])


def _flagged(found: Guardrail, key: str, word: str) -> None:
    """A setting by which a hit is only recorded."""
    if found.params[key].value == word:
        found.settings["do"] = "flag"
    if found.params[key].text() is not None:
        found.sources.append(found.params[key])


def _aside(found: Guardrail, why: str, *keys: str) -> None:
    for key in keys:
        found.params[key].put_aside(why)


# --- local ---------------------------------------------------------------------------------------


def _secrets(found: Guardrail) -> None:
    found.add({"use": "secrets", "do": "redact"}, sample="the key is ghp_16C7e42F292c6912E7710c838347Ae178B4a")
    found.params["detect_secrets_config"].leave("the formats are Outrider's own; see 'rules' and 'except'")


def _presidio(found: Guardrail) -> None:
    params = found.params
    url, addressed = found.address("presidio_analyzer_api_base")
    found.draft.presidio, kept = url or found.draft.presidio, found.draft.presidio
    _scoped(found)
    masks = {"do": "mask"} if params["output_parse_pii"].value is True else {"do": "redact"}
    if params["output_parse_pii"].is_a(bool):
        found.sources.append(params["output_parse_pii"])
    extra, more = _analysed(found, addressed)
    _entities(found, masks, extra, more)
    _aside(found, "Outrider cuts out what the analyzer finds by itself", "presidio_anonymizer_api_base")
    params["presidio_score_thresholds"].leave("the kind 'pii' has no scores, and 'presidio' one threshold for all")
    params["presidio_language"].put_aside("the kind 'pii' finds what has a fixed shape, in whatever language")
    found.draft.presidio = kept


def _scoped(found: Guardrail) -> None:
    for key in ("presidio_filter_scope", "presidio_run_on"):
        scope = found.params[key].value
        if scope in ("input", "output", "both"):
            found.sources.append(found.params[key])
            output = [one for one in found.at if one == "output"]
            rest = [one for one in found.at if one != "output"]
            found.at = {"input": rest, "output": output, "both": found.at}[scope] or found.at


def _analysed(found: Guardrail, addressed: list[Node]) -> tuple[dict[str, Any], list[Node]]:
    """What only an analyzer can be told."""
    params = found.params
    extra: dict[str, Any] = {}
    if found.draft.presidio is None:
        return extra, addressed
    if params["presidio_language"].text():
        extra["language"] = params["presidio_language"].value
        addressed = [*addressed, params["presidio_language"]]
    scores = {one.number() for one in params["presidio_score_thresholds"].items()}
    if len(scores) == 1 and (score := next(iter(scores))) is not None and 0 < score <= 1:
        extra["threshold"] = float(score)
        addressed = [*addressed, *params["presidio_score_thresholds"].items()]
    return extra, addressed


def _entities(found: Guardrail, masks: dict[str, Any], extra: dict[str, Any], more: list[Node]) -> None:
    params = found.params
    named = params["pii_entities_config"].items()
    without = {one.value: one for one in params["presidio_entities_deny_list"].items()}
    actions = {"MASK": masks, "BLOCK": {"do": "block"}}
    for action, does in actions.items():
        chosen = [one for one in named if str(one.value).upper() == action and one.name not in without]
        if chosen or (not named and action == "MASK"):
            made = _personal(found, chosen, {**extra, **does}, more, "" if action == "MASK" else "block")
            found.made += [made] if made else []
    for name, one in without.items():
        if named and found.made:
            for entity in [e for e in named if e.name == name]:
                entity.take(found.made[0])
            one.take(found.made[0])
        else:
            one.leave("all entities are looked for; name those that are wanted instead")


def _personal(found: Guardrail, chosen: list[Node], rest: dict[str, Any], more: list[Node], name: str) -> str | None:
    """Here the names of the entities are the keys of the settings."""
    named = [Node(one.account, one.path, one.name) for one in chosen]
    settings = {**rest, "at": found.at, **found.settings}
    wanted = f"{found.name}-{name}" if name else found.name
    return personal(found.draft, wanted, settings, named, [*found.sources, *more])


def _filter(found: Guardrail) -> None:
    """The built-in content filter: patterns and words, each with its own action."""
    params = found.params
    for action, does in (("BLOCK", "block"), ("MASK", "redact")):
        found.settings["do"] = does
        listed = [one for one in params["patterns"].items() if str(one["action"].value).upper() == action]
        _prebuilt(found, listed, action)
        _written(found, listed)
        _blocked_words(found, action)
    params["categories"].leave("a list of words of LiteLLM's own; see the kinds 'toxicity', 'injection' and 'judge'")
    params["blocked_words_file"].leave("put its words into 'words', or into a file with one word a line: 'files'")
    _aside(found, "what is cut out is named by Outrider: [EMAIL]", "pattern_redaction_format", "keyword_redaction_tag")


def _labelled(parts: list[Node], *keys: str) -> list[Node]:
    return [part[key] for part in parts for key in keys]


def _prebuilt(found: Guardrail, listed: list[Node], action: str) -> None:
    known = [one for one in listed if one["pattern_type"].value == "prebuilt"]
    data = [one for one in known if one["pattern_name"].value in PREBUILT]
    tokens = [one for one in known if one["pattern_name"].value in TOKENS]
    keys = ("pattern_type", "pattern_name", "action", "name")
    if data:
        entities = list(dict.fromkeys(PREBUILT[one["pattern_name"].value] for one in data))
        entry = {"use": "pii", "entities": entities}
        found.add(entry, *_labelled(data, *keys), name=f"pii-{action}", sample=SAMPLES[entities[0]])
    if tokens:
        rules = [rule for one in tokens for rule in TOKENS[one["pattern_name"].value]]
        entry = {"use": "secrets", "rules": list(dict.fromkeys(rules))}
        found.add(entry, *_labelled(tokens, *keys), name=f"tokens-{action}")
    for one in known:
        one.leave("no kind finds exactly this; see 'pii' and 'secrets'")


def _written(found: Guardrail, listed: list[Node]) -> None:
    own = {one["pattern"].path: one for one in listed if one["pattern_type"].value == "regex" and one["pattern"].text()}
    said = [one["pattern"] for one in own.values()]
    names = [slug(one["name"].text() or "pattern") for one in own.values()]
    settings = {"at": found.at, **found.settings}
    made, good = patterns(found.draft, f"{found.name}-patterns", said, settings, names=names)
    if made is not None:
        found.made.append(made)
        for node in [*found.sources, *_labelled([own[one.path] for one in good], "pattern_type", "action", "name")]:
            node.take(made)
    for one in own.values():
        one.leave("its pattern cannot be read")


def _blocked_words(found: Guardrail, action: str) -> None:
    listed = [one for one in found.params["blocked_words"].items() if str(one["action"].value).upper() == action]
    said = [one for one in listed if one["keyword"].text() is not None]
    words = [one["keyword"].value for one in said]
    if words:
        entry = {"use": "keywords", "words": words}
        sample = f"Tell me about {words[0]} now"
        found.add(entry, *_labelled(said, "keyword", "action"), name=f"words-{action}", sample=sample)
    for one in said:
        one["description"].put_aside("tells people about it")


def _tools(found: Guardrail) -> None:
    """Rules by name. A rule that denies wins here, wherever it stands."""
    params = found.params
    sides = {"tool_call" if place == "output" else "tool_definition" for place in found.at}
    found.at = sorted(sides, reverse=True)
    rules = [one for one in params["rules"].items() if _named(one)]
    denies = params["default_action"].value == "deny"
    entry: dict[str, Any] = {"use": "tools"}
    if denies:
        entry["allow"] = [_glob(one) for one in rules if one["decision"].value == "allow"]
    if deny := [_glob(one) for one in rules if one["decision"].value == "deny"]:
        entry["deny"] = deny
    fixed = [params["default_action"], *([params["on_disallowed_action"]] if _blocks(params) else [])]
    found.add(entry, *_labelled(rules, "id", "tool_name", "decision"), *fixed)
    for one in params["rules"].items():
        one.leave("only names of tools, with * for any text, can be allowed or denied; see also 'deny_if'")
    params["on_disallowed_action"].leave("a tool that is not allowed blocks; it is not taken out of the answer")


def _named(rule: Node) -> bool:
    """Whether it is a rule about a name alone. One that allows a tool with some arguments only does not allow it here."""
    alone = set(rule.value) <= {"id", "tool_name", "decision"} if isinstance(rule.value, dict) else False
    return alone and _glob(rule) is not None and rule["decision"].value in ("allow", "deny")


def _blocks(params: Node) -> bool:
    return bool(params["on_disallowed_action"].value == "block")


def _glob(rule: Node) -> str | None:
    """A pattern of a tool's name as a name with * for any text, where it is no more than that."""
    text = (rule["tool_name"].text() or "").removeprefix("^").removesuffix("$").replace(".*", "*").replace("\\-", "-")
    return text if re.fullmatch(r"[\w*-]+", text) else None


# --- models and services -------------------------------------------------------------------------


def _moderation(found: Guardrail) -> None:
    model = found.params["model"].text() or MODERATION
    found.add({"use": "moderation", "model": model}, found.params["model"])
    _aside(found, "belongs to the upstream of the model, in outrider.yaml", "api_key", "api_base")


def _criteria(found: Guardrail) -> None:
    """Each criterion asked the other way round: a YES is a failure, and so much of a hit as it weighs."""
    params = found.params
    parts = [one for one in params["criteria"].items() if one["description"].text()]
    names = {slug(one["name"].text() or f"criterion-{n}"): one for n, one in enumerate(parts)}
    least = params["overall_threshold"].number()
    passing = 80 if least is None else least
    _flagged(found, "on_failure", "log")
    entry: dict[str, Any] = {"use": "criteria", "model": params["judge_model"].value, "combine": "weighted_mean"}
    entry["questions"] = {name: OPENING.format(one["description"].value) for name, one in names.items()}
    entry["weights"] = {name: float(one["weight"].number() or 1) for name, one in names.items()}
    entry["threshold"] = min(max(round((100 - passing) / 100 + 0.001, 3), 0.001), 1.0)
    found.settings.setdefault("on_error", "allow")  # a judge that fails lets pass there
    nodes = _labelled(list(names.values()), "name", "description", "weight")
    if params["judge_model"].text() is None or not names:
        found.node.leave("it names no 'judge_model', or no criterion with a description")
    elif found.add(entry, params["judge_model"], *nodes, *([params["overall_threshold"]] if least is not None else [])):
        params["criteria"].differs("a criterion is met or not; there it has a score from 0 to 100")


def _webhook(found: Guardrail) -> None:
    url, addressed = found.address("api_base")
    if url is None:
        found.node.leave("it has no address")
        return
    key, keyed = found.key()
    told = found.params["additional_provider_specific_params"]
    for secret in (found_keys := told.keys()):
        secret.leave(HIDDEN)
    more = {"parameters": told.value} if told.is_a(dict) and told.value and not found_keys else {}
    base, _, path = url.partition("/beta/litellm_basic_guardrail_api")
    entry = {"use": "webhook", "url": base, **key, **more, "do": "redact"}
    if path:
        found.node.leave("its address goes on after the path of the contract")
        return
    found.add(entry, *addressed, *keyed, *([told] if told.is_a(dict) and not found_keys else []))
    told.leave("it holds a key; see 'parameters', which may not")
    found.params["extra_headers"].leave("no header of a client is passed on to a service")


def _lakera(found: Guardrail) -> None:
    params = found.params
    _flagged(found, "on_flagged", "monitor")
    url, addressed = found.address("api_base")
    key, keyed = found.key()
    project = {"project_id": params["project_id"].value} if params["project_id"].text() else {}
    entry = {"use": "lakera", **({"url": url} if url else {}), **key, **project}
    found.add(entry, *addressed, *keyed, *([params["project_id"]] if project else []))
    _aside(found, "about what the service tells beside its verdict", "payload", "breakdown", "dev_info", "metadata")
    params["category_thresholds"].leave("the project of the service holds the thresholds")


def _bedrock(found: Guardrail) -> None:
    params = found.params
    url, addressed = found.address("aws_bedrock_runtime_endpoint")
    names = {"guardrailIdentifier": "guardrail", "guardrailVersion": "guardrail_version", "aws_region_name": "region"}
    given = {ours: params[theirs] for theirs, ours in names.items() if _literal(params[theirs])}
    entry = {"use": "bedrock", **{ours: str(node.value) for ours, node in given.items()}}
    found.add({**entry, **({"url": url} if url else {})}, *given.values(), *addressed)
    for inner in params.items():
        if inner.name.startswith("aws_"):
            inner.leave("calls are signed with the AWS credentials of the environment")
    for key in ("mask_request_content", "mask_response_content", "disable_exception_on_block"):
        if params[key].value is False:
            _aside(found, "off", key)
        params[key].leave("where the guardrail intervenes, the check hits; see 'do' and 'block_as'")


def _literal(node: Node) -> bool:
    return isinstance(node.value, (str, int)) and not str(node.value).startswith(REFERENCE)


def _azure(*, shield: bool) -> Maker:
    def make(found: Guardrail) -> None:
        params = found.params
        url, addressed = found.address("api_base")
        if url is None:
            found.node.leave("its address is not known: the variable that holds it is not set")
            return
        key, keyed = found.key()
        entry: dict[str, Any] = {"use": "azure_content_safety", "url": url, **key}
        told: dict[str, Node] = {} if shield else _severities(params)
        entry |= {"shield": True} if shield else {name: node.value for name, node in told.items()}
        found.add(entry, *addressed, *keyed, *told.values())
        _aside(found, "about the bill", "cost_tier", "price_per_1000_text_records")
        _aside(found, "about how the service answers", "haltOnBlocklistHit", "outputType")

    return make


def _severities(params: Node) -> dict[str, Node]:
    names = {
        "severity_threshold": "threshold",
        "severity_threshold_by_category": "threshold",
        "categories": "categories",
        "blocklistNames": "blocklists",
    }
    return {ours: params[theirs] for theirs, ours in names.items() if params[theirs].value not in (None, {}, [])}


def _model_armor(found: Guardrail) -> None:
    params = found.params
    url, addressed = found.address("api_endpoint", "api_base")
    parts = [params["project_id"].text(), params["location"].text() or "us-central1", params["template_id"].text()]
    if not all(parts) or any(str(part).startswith(REFERENCE) for part in parts):
        found.node.leave("the template needs its 'project_id' and 'template_id' in the document")
        return
    template = "projects/{}/locations/{}/templates/{}".format(*parts)
    entry = {"use": "model_armor", "template": template, "key_env": "MODEL_ARMOR_TOKEN"}
    named = [params[key] for key in ("project_id", "location", "template_id") if key in params]
    found.add({**entry, **({"url": url} if url else {})}, *named, *addressed)
    _aside(found, "no answer of a service is shown to a client", "sanitize_error_detail")
    params["credentials"].leave(
        "the check reads an access token: 'key_env', or 'token_file' that something keeps fresh"
    )


Maker = Callable[[Guardrail], None]
MAKERS: Mapping[str, Maker] = {
    "hide-secrets": _secrets,
    "presidio": _presidio,
    "litellm_content_filter": _filter,
    "tool_permission": _tools,
    "openai_moderation": _moderation,
    "llm_as_a_judge": _criteria,
    "generic_guardrail_api": _webhook,
    "lakera": _lakera,
    "lakera_v2": _lakera,
    "bedrock": _bedrock,
    "azure/prompt_shield": _azure(shield=True),
    "azure/text_moderations": _azure(shield=False),
    "model_armor": _model_armor,
}
