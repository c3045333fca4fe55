"""Policies of the guardrails of others: what maps is mapped, what does not is told, and nothing falls between."""

import json
import re
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.policy.importers import imported, recognised
from gateway.policy.load import load_policies
from gateway.policy.plan import watches_of
from gateway.policy.trial import results

EXAMPLES = Path(__file__).parent / "examples"
FILES = {"openai-guardrails": "guardrails_config.json", "litellm": "litellm.yaml", "nemo": "nemo.yml"}


def example(source):
    return yaml.safe_load((EXAMPLES / FILES[source]).read_text())


def loaded(made, folder):
    (folder / "made.yaml").write_text(made.text)
    (policy,) = load_policies(folder / "made.yaml", keyless=True).policies
    return policy


def entries(made):
    return yaml.safe_load(made.text)["checks"]


def told(made):
    return {left.where: left.why for left in made.left}


@pytest.mark.parametrize("source", FILES)
def test_an_example_is_recognised_and_becomes_a_policy_that_passes_its_tests(source, tmp_path):
    assert recognised(example(source)) == source
    made = imported(example(source), source, "mine")
    policy = loaded(made, tmp_path)
    assert list(policy.entries) == list(made.checks)
    assert made.tests == len(policy.head.tests) >= 8
    assert policy.head.tests[0].expect == "pass"
    assert results(policy) == {number: [] for number in range(made.tests)}


@pytest.mark.parametrize("source", FILES)
def test_its_tests_see_when_a_check_is_gone(source, tmp_path):
    """Every check but those that nothing can be said of acts in a test of its own."""
    made = imported(example(source), source, "mine")
    document = yaml.safe_load(made.text)
    acting = {name for test in document["tests"][1:] for name in test["expect"]}
    silent = {
        name for name, entry in document["checks"].items() if entry["use"] in {"regex", "tools", "code", "secrets"}
    }
    places = {name for name, entry in document["checks"].items() if entry["at"] == "tool_call"}
    shadow = {name for name, entry in document["checks"].items() if entry.get("mode") == "shadow"}
    assert set(document["checks"]) - acting <= silent | places | shadow
    for name in acting:
        document["checks"][name]["mode"] = "disabled"
    (tmp_path / "off.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    (policy,) = load_policies(tmp_path / "off.yaml", keyless=True, tested=False).policies
    assert all(failures for number, failures in results(policy).items() if number > 0)


def test_a_bundle_keeps_its_stages():
    made = entries(imported(example("openai-guardrails"), "openai-guardrails", "p"))
    assert list(made)[:3] == ["contains-pii-pre_flight", "moderation", "jailbreak"]
    assert made["contains-pii-pre_flight"] == {
        "use": "pii", "entities": ["email", "card"], "at": "input", "when": "before", "do": "redact",
    }  # fmt: skip
    assert made["moderation"]["when"] == "before"
    assert "when" not in made["jailbreak"]
    assert made["jailbreak"]["history"] == "skip"
    assert made["keyword-filter"]["words"] == ["Project Heron", "swordfish"]
    assert made["nsfw-text"]["at"] == "output"
    assert made["contains-pii-output"]["do"] == "block"
    assert made["prompt-injection-detection"]["at"] == "tool_call"
    assert "A shop for bicycles" in made["off-topic-prompts"]["question"]


def test_what_a_bundle_has_and_a_policy_has_not_is_told():
    made = imported(example("openai-guardrails"), "openai-guardrails", "p")
    where = told(made)
    assert "--presidio" in where["pre_flight.guardrails[0].config.entities[2]"]
    assert "RE2" in where["input.guardrails[3].config.custom_regex[1]"]
    assert "whole domains" in where["output.guardrails[0].config.url_allow_list[1]"]
    assert "no kind" in where["output.guardrails[4]"]
    assert all(f"{left.where} = {left.value}: {left.why}" in made.text for left in (*made.left, *made.aside))
    assert made.mapped["input.guardrails[0].config.max_turns"] == "jailbreak"


def test_an_empty_list_of_links_allows_none(tmp_path):
    bundle = {"version": 1, "output": {"version": 1, "guardrails": [{"name": "URL Filter", "config": {}}]}}
    made = imported(bundle, "openai-guardrails", "p")
    policy = loaded(made, tmp_path)
    assert not made.left
    assert [test.expect for test in policy.head.tests] == ["pass", {"url-filter": "block"}]


def test_an_analyzer_finds_what_we_do_not():
    made = imported(example("openai-guardrails"), "openai-guardrails", "p", presidio="http://127.0.0.1:5002")
    first = entries(made)["contains-pii-pre_flight"]
    assert (first["use"], first["entities"]) == ("presidio", ["EMAIL_ADDRESS", "CREDIT_CARD", "PERSON"])
    assert "pre_flight.guardrails[0].config.entities[2]" not in told(made)


def test_litellm_modes_become_sides_and_times(tmp_path):
    made = imported(example("litellm"), "litellm", "p", environ={"AZURE_GUARDRAIL_API_BASE": "https://shield.example/"})
    found = entries(made)
    assert (found["pii-in"]["do"], found["pii-in-block"]["do"]) == ("mask", "block")
    assert found["lakera"] == {
        "use": "lakera", "key_env": "LAKERA_API_KEY", "project_id": "project-1", "at": ["input"], "do": "flag",
    }  # fmt: skip
    assert found["shield"]["url"] == "https://shield.example"
    assert found["shield"]["when"] == "before"
    assert found["bedrock"]["at"] == ["output"]
    assert found["logs"]["mode"] == "shadow"
    assert (found["own"]["on_error"], found["own"]["timeout"]) == ("allow", "3500ms")
    assert found["tools"]["allow"] == ["mcp__github_*"]
    watches, _ = watches_of(loaded(made, tmp_path))
    when = {watch.name: str(watch.when) for watch in watches if watch.side == "input"}
    assert (when["p.shield"], when["p.moderation"], when["p.lakera"]) == ("before", "beside", "beside")


def test_litellm_tells_what_is_missing_and_shows_no_key():
    made = imported(example("litellm"), "litellm", "p")
    where = told(made)
    assert "not set" in where["guardrails[5]"]
    assert "always" in where["guardrails[7].litellm_params.default_on"]
    assert "webhook" in where["guardrails[13]"]
    assert "model_list[1].litellm_params.guardrails[0]" in where
    assert "guardrails[10].litellm_params.rules[2]" in where  # a tool with restricted arguments is not allowed at all
    assert "must-never-be-shown" not in made.text + json.dumps([left.value for left in (*made.left, *made.aside)])
    assert any("LAKERA_API_KEY" in need for need in made.needs)


SECRET = "must-never-be-shown"
KEYS = {
    "environment_variables": {
        "OPENAI_API_KEY": SECRET,
        "SALT_KEY": SECRET,
        "DATABASE_URL": f"postgres://me:{SECRET}@db/x",
    },
    "guardrails": [
        {
            "guardrail_name": "one",
            "litellm_params": {
                "guardrail": "generic_guardrail_api",
                "mode": "pre_call",
                "api_base": "http://127.0.0.1:9000",
                "api_key": SECRET,
                "additional_provider_specific_params": {"level": 3, "x-api-key": SECRET, "deep": [{"token": SECRET}]},
            },
        },
        {
            "guardrail_name": "two",
            "litellm_params": {
                "guardrail": "lakera_v2",
                "mode": "pre_call",
                "api_base": f"https://me:{SECRET}@lakera.example",
                "headers": {"Authorization": SECRET},
            },
        },
    ],
}


def test_no_key_is_shown_and_none_is_written():
    made = imported(KEYS, "litellm", "p")
    assert SECRET not in made.text + repr(made)
    assert list(made.checks) == ["one"]
    assert "parameters" not in entries(made)["one"]
    where = told(made)
    assert "environment" in where["guardrails[0].litellm_params.api_key"]
    assert "guardrails[0].litellm_params.additional_provider_specific_params.x-api-key" in where
    assert any(place.startswith("guardrails[1]") for place in where)


def test_nemo_flows_in_their_order_with_their_prompts():
    made = imported(example("nemo"), "nemo", "p")
    found = entries(made)
    assert list(found)[:4] == [
        "mask-sensitive-data-on-input", "regex-check-input", "jailbreak-detection-heuristics", "self-check-input",
    ]  # fmt: skip
    assert all(entry["when"] == "before" for entry in found.values() if entry["at"] != "output")
    assert "no insults" in found["self-check-input"]["question"]
    assert "{{" not in found["self-check-input"]["question"]
    assert found["llama-guard-check-input"]["model"] == "llama_guard"
    assert "bicycles" in found["topic-safety-check-input"]["question"]
    assert found["injection-detection"]["deny"] == ["sql_write", "sql_read", "html_script"]
    where = told(made)
    for flow in ("input.flows[5]", "input.flows[7]", "output.flows[1]"):
        assert f"rails.{flow}" in where
    assert {"rails.retrieval.flows", "instructions", "prompts[2]", "prompts[3].content"} <= set(where)


# --- nothing falls between -------------------------------------------------------------------------

WORD = st.sampled_from(
    "alpha beta gamma delta on off 1e5 08 null ünïcode 😀 a:b #c 'd \"e back\\slash {{x}} $y".split()
)
SCALAR = st.one_of(
    WORD, st.booleans(), st.none(), st.integers(-5, 200), st.floats(0, 2, allow_nan=False), st.text(max_size=6)
)
NESTED = st.recursive(
    SCALAR, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(WORD, inner, max_size=3)), max_leaves=6
)


def some(**known):
    """A mapping with some of the known settings, some of them nonsense, and some that nobody knows."""
    fields = {key: st.one_of(value, value, value, NESTED) for key, value in known.items()}
    return st.tuples(st.fixed_dictionaries({}, optional=fields), st.dictionaries(WORD, NESTED, max_size=2)).map(
        lambda pair: {**pair[1], **pair[0]}
    )


ENTITY = st.sampled_from("EMAIL_ADDRESS CREDIT_CARD US_SSN PERSON CVV IP_ADDRESS UK_NINO".split())
PATTERN = st.sampled_from([r"\bTCK-\d{6}\b", "(?=x)y", "(", "a*", "shop-[a-z]{4}", ""])
THRESHOLD = st.floats(0, 1)
CONFIG = some(
    keywords=st.lists(WORD, max_size=3),
    entities=st.lists(ENTITY, max_size=3),
    block=st.booleans(),
    detect_encoded_pii=st.booleans(),
    threshold=st.sampled_from(["strict", "balanced", "permissive"]),
    custom_regex=st.lists(PATTERN, max_size=3),
    url_allow_list=st.lists(
        st.sampled_from(["a.example", "https://b.example", "10.0.0.1", "https://c.example/x"]), max_size=3
    ),
    allowed_schemes=st.lists(st.sampled_from(["https", "http"]), max_size=2),
    block_userinfo=st.booleans(),
    allow_subdomains=st.booleans(),
    categories=st.lists(st.sampled_from(["hate", "violence", "self/harm"]), max_size=3),
    model=st.just("gpt-4.1-mini"),
    confidence_threshold=THRESHOLD,
    max_turns=st.integers(1, 10),
    include_reasoning=st.booleans(),
    system_prompt_details=WORD,
)
NAMES = (
    "Keyword Filter,Competitors,Contains PII,Secret Keys,URL Filter,Moderation,Jailbreak,NSFW Text,Off Topic Prompts,"
    "Custom Prompt Check,Prompt Injection Detection,Hallucination Detection,Another"
)
GUARDRAIL = some(name=st.sampled_from(NAMES.split(",")), config=CONFIG)
STAGE = some(version=st.just(1), guardrails=st.lists(GUARDRAIL, max_size=3))
BUNDLE = some(version=st.just(1), pre_flight=STAGE, input=STAGE, output=STAGE)

REFERRED = st.sampled_from(["os.environ/KEY_OF_A_SERVICE", "https://service.example", "http://127.0.0.1:9", "nowhere"])
ACTION = st.sampled_from(["BLOCK", "MASK", "mask", "ELSE"])
KIND = st.sampled_from(
    "hide-secrets presidio litellm_content_filter tool_permission openai_moderation llm_as_a_judge generic_guardrail_api "
    "lakera lakera_v2 bedrock azure/prompt_shield azure/text_moderations model_armor aporia".split()
)
MODE = st.sampled_from(["pre_call", "during_call", "post_call", "logging_only", "pre_mcp_call"])
PARAMS = some(
    guardrail=KIND,
    mode=st.one_of(
        MODE, st.lists(MODE, min_size=1, max_size=3), st.fixed_dictionaries({"default": MODE, "tags": NESTED})
    ),
    default_on=st.booleans(),
    api_key=REFERRED,
    api_base=REFERRED,
    timeout=st.one_of(st.integers(1, 9), st.just("4")),
    on_flagged=st.sampled_from(["block", "monitor"]),
    unreachable_fallback=st.sampled_from(["fail_open", "fail_closed"]),
    fail_on_error=st.booleans(),
    skip_system_message_in_guardrail=st.booleans(),
    output_parse_pii=st.booleans(),
    pii_entities_config=st.dictionaries(ENTITY, ACTION, max_size=3),
    presidio_entities_deny_list=st.lists(ENTITY, max_size=2),
    presidio_score_thresholds=st.dictionaries(ENTITY, THRESHOLD, max_size=2),
    presidio_filter_scope=st.sampled_from(["input", "output", "both"]),
    presidio_analyzer_api_base=REFERRED,
    presidio_language=st.just("en"),
    patterns=st.lists(
        some(
            pattern_type=st.sampled_from(["prebuilt", "regex"]),
            pattern_name=st.sampled_from(["email", "visa", "us_ssn", "aws_access_key", "passport_us"]),
            pattern=PATTERN,
            name=WORD,
            action=ACTION,
        ),
        max_size=3,
    ),
    blocked_words=st.lists(some(keyword=WORD, action=ACTION, description=WORD), max_size=3),
    rules=st.lists(
        some(
            id=WORD, tool_name=st.sampled_from(["Bash", "^a_.*$", "(a|b)"]), decision=st.sampled_from(["allow", "deny"])
        ),
        max_size=3,
    ),
    default_action=st.sampled_from(["allow", "deny"]),
    on_disallowed_action=st.sampled_from(["block", "rewrite"]),
    judge_model=st.just("small"),
    criteria=st.lists(some(name=WORD, weight=st.integers(1, 100), description=WORD), max_size=3),
    overall_threshold=st.integers(0, 100),
    on_failure=st.sampled_from(["block", "log"]),
    guardrailIdentifier=st.just("ff6"),
    guardrailVersion=st.sampled_from(["DRAFT", 2]),
    aws_region_name=st.sampled_from(["eu-central-1", "os.environ/REGION"]),
    severity_threshold=st.integers(0, 8),
    categories=st.lists(st.sampled_from(["Hate", "Violence", "Other"]), max_size=2),
    project_id=st.just("p1"),
    template_id=st.just("t1"),
    model=st.just("omni-moderation-latest"),
)
ENTRY = some(guardrail_name=WORD, litellm_params=PARAMS, guardrail_info=NESTED)
LITELLM = some(
    guardrails=st.lists(ENTRY, max_size=3), model_list=NESTED, litellm_settings=NESTED, general_settings=NESTED
)

FLOW = st.sampled_from(
    [
        *(f"{verb} sensitive data on {side}" for verb in ("mask", "detect") for side in ("input", "output")),
        *("regex check input", "regex check output", "self check input", "self check output", "self check facts"),
        *(
            "content safety check input $model=m",
            "llama guard check input $model=m",
            "topic safety check input $model=m",
        ),
        *("jailbreak detection heuristics", "jailbreak detection model", "injection detection", "my own flow", ""),
    ]
)
RAIL = some(flows=st.lists(FLOW, max_size=4), parallel=st.booleans())
SIDE = some(entities=st.lists(ENTITY, max_size=3), score_threshold=THRESHOLD, mask_token=WORD)
PATTERNS = some(patterns=st.lists(PATTERN, max_size=3), case_insensitive=st.booleans())
RAILS_CONFIG = some(
    sensitive_data_detection=some(input=SIDE, output=SIDE, recognizers=NESTED),
    regex_detection=some(input=PATTERNS, output=PATTERNS),
    injection_detection=some(
        injections=st.lists(st.sampled_from(["sqli", "xss", "code", "template"]), max_size=3),
        action=st.sampled_from(["reject", "omit"]),
    ),
    jailbreak_detection=NESTED,
)
PROMPT = some(
    task=st.sampled_from(
        ["self_check_input", "self_check_output", "topic_safety_check_input $model=m", "content_safety_check_input"]
    ),
    content=st.sampled_from(["Is it bad? {{ user_input }}", "{% if %}", "{{ other }}", "Speak of bicycles.", ""]),
    output_parser=WORD,
    max_tokens=st.integers(1, 9),
)
MODELS = st.lists(
    some(type=st.sampled_from(["main", "m"]), model=st.sampled_from(["meta-llama/Llama-Guard-3-8B", "gpt"])), max_size=2
)
NEMO = some(
    models=MODELS,
    rails=some(config=RAILS_CONFIG, input=RAIL, output=RAIL, retrieval=RAIL),
    prompts=st.lists(PROMPT, max_size=2),
    instructions=NESTED,
    colang_version=st.just("1.0"),
)
DOCUMENTS = {"openai-guardrails": BUNDLE, "litellm": LITELLM, "nemo": NEMO}


def leaves(value, where=""):
    """Every scalar and every empty part, by its place; written anew, so that it can disagree with the importer's own."""
    if value and isinstance(value, dict):
        for key, inner in value.items():
            plain = (key.isidentifier() and key.isascii()) or (key.replace("-", "_").isidentifier() and key.isascii())
            step = (f".{key}" if where else key) if plain else f"[{json.dumps(key)}]"
            yield from leaves(inner, where + step)
    elif value and isinstance(value, list):
        for number, inner in enumerate(value):
            yield from leaves(inner, f"{where}[{number}]")
    else:
        yield where or "the document", value


def covered(place, told_of):
    return any(place == one or place.startswith((f"{one}.", f"{one}[")) for one in told_of)


@pytest.mark.parametrize("source", DOCUMENTS)
@pytest.mark.parametrize("presidio", [None, "http://127.0.0.1:5002"])
def test_every_setting_is_mapped_or_told(source, presidio, tmp_path):
    @settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
    @given(document=DOCUMENTS[source])
    def holds(document):
        made = imported(document, source, "p", presidio=presidio)
        said = {left.where for left in (*made.left, *made.aside)}
        for place, value in leaves(document):
            assert place in made.mapped or covered(place, said), (place, value)
        assert set(made.mapped.values()) <= set(made.checks)
        assert bool(made.text) == bool(made.checks)
        if made.text:
            policy = loaded(made, tmp_path)
            assert list(policy.entries) == list(made.checks)
            assert all(line.startswith("# ") for line in made.text.splitlines() if "not known to this importer" in line)

    holds()


TOLD = {  # settings whose value is to be found again in the check that they went into
    "openai-guardrails": ("keywords", "url_allow_list", "system_prompt_details", "categories", "model"),
    "litellm": ("keyword", "project_id", "guardrailIdentifier", "judge_model", "description"),
    "nemo": ("patterns",),
}


@pytest.mark.parametrize("source", TOLD)
def test_what_is_said_to_be_mapped_stands_in_the_check_that_is_named(source):
    made = imported(example(source), source, "p")
    found = entries(made)
    named = [(place, value) for place, value in leaves(example(source)) if place in made.mapped]
    told_of = [(p, v) for p, v in named if any(re.search(rf"\.{word}(\[\d+\])?$", p) for word in TOLD[source])]
    assert told_of
    for place, value in told_of:
        said = json.dumps(found[made.mapped[place]], ensure_ascii=False)
        assert json.dumps(value.rstrip("!"), ensure_ascii=False)[1:-1] in said, place
