"""Policies: what is accepted, and for everything else the file, the line and what was meant."""

import hashlib
from pathlib import Path
from typing import get_type_hints

import pytest

from gateway.checks import KINDS, beside
from gateway.policy.load import BUILT_IN, PolicyError, load_policies
from gateway.policy.plan import plan

ROOT = Path(__file__).resolve().parents[2]


def wrong(tmp_path, text, **more):
    (tmp_path / "p.yaml").write_text(text)
    with pytest.raises(PolicyError) as caught:
        load_policies(tmp_path, **more)
    return str(caught.value)


MISTAKES = [
    (
        "policy: p\nchecks:\n  a: {use: keyword, words: [x]}",
        ":3:7: ",
        "no kind of check 'keyword', did you mean 'keywords'?",
    ),
    ("policy: p\nchecks:\n  a: {use: keywords, wrods: [x]}", ":3:22: ", "unknown key 'wrods', did you mean 'words'?"),
    (
        "policy: p\nchecks:\n  a:\n    use: keywords\n    words: [x]\n    at: inptu",
        ":6:5: ",
        "no place 'inptu', did you mean 'input'?",
    ),
    ("policy: p\nchecks: {a: {use: keywords, words: [x], history: cached}}", ":2:41: ", "keeps no verdicts"),
    (
        "policy: p\nchecks: {a: {use: keywords, words: [x], do: redact, history: skip}}",
        ":2:53: ",
        "must read everything",
    ),
    (
        "policy: p\nchecks: {a: {use: keywords, words: [x], at: output, history: skip}}",
        ":2:53: ",
        "no text of the question",
    ),
    ("policy: p\nchecks: {a: {use: keywords, words: [x], context: exchange}}", ":2:41: ", "reads the answer alone"),
    ("policy: p\nchecks: {a: {use: judge, model: m, at: input, context: none}}", ":2:47: ", "no text of the answer"),
    ("policy: p\nchecks: {a: {use: judge, model: m, history: all}}", ":2:36: ", "'full'"),
    ("policy: p\ncheks: {}", ":2:1: ", "unknown key 'cheks', did you mean 'checks'?"),
    ("policy: p", ":1:1: ", "'checks' is missing"),
    ("policy: p\nchecks: {}", ":2:1: ", "'checks'"),
    ("policy: P p\nchecks: {a: {use: keywords, words: [x]}}", ":1:1: ", "'policy'"),
    ("policy: p\nmode: enforced\nchecks: {a: {use: keywords, words: [x]}}", ":2:1: ", "'enforce'"),
    ("policy: p\npolicy: q\nchecks: {}", ":2:1: ", "given twice"),
    ("policy: p\nchecks:\n  a: {use: keywords, words: [x]}\n  a: {use: keywords, words: [y]}", ":4:3: ", "given twice"),
    ("policy: p\nchecks: {a: {use: regex, patterns: {n: '('}}}", ":2:10: ", "not valid RE2"),
    ("policy: p\nchecks: {a: {use: keywords, words: [x], timeout: 5}}", ":2:41: ", "not a duration"),
    ("policy: p\nchecks: {a: {use: length, max_words: 9, do: redact}}", ":2:41: ", "cannot redact"),
    (
        "policy: p\nchecks: {a: {use: keywords, words: [x], do: mask, stream: after}}",
        ":2:51: ",
        "'after' lets text go that may have to be cut",
    ),
    (
        "policy: p\nchecks: {a: {use: keywords, words: [x], do: redact, when: beside}}",
        ":2:53: ",
        "rewrites the question runs before the call",
    ),
    (
        "policy: p\nchecks: {a: {use: keywords, words: [x], do: redact, restore: [content]}}",
        ":2:53: ",
        "redacted is gone for good",
    ),
    (
        "policy: p\nchecks: {a: {use: keywords, words: [x], do: mask, restore: [contents]}}",
        ":2:61: ",
        "no place 'contents', did you mean 'content'?",
    ),
    (
        "policy: p\nchecks: {a: {use: keywords, words: [x], do: mask, restore: [user]}}",
        ":2:61: ",
        "'user' is not a place of the answer",
    ),
    (
        "policy: p\nchecks: {a: {use: keywords, words: [x], restore: [content]}}",
        ":2:41: ",
        "only what 'do: mask' has hidden",
    ),
    (
        "policy: p\nchecks: {a: {use: length, max_words: 9, stream: window}}",
        ":2:41: ",
        "needs the whole answer",
    ),
    (
        "policy: p\nchecks: {a: {use: regex, patterns: {n: '^x'}, stream: exact}}",
        ":2:47: ",
        "cannot follow an answer",
    ),
    ("policy: p\nchecks: {a: {need: 2, of: {}}}", ":2:", "'of' holds the checks"),
    (
        "policy: p\nchecks: {a: {need: 2, of: {x: {use: keywords, words: [y]}}}}",
        ":2:14: ",
        "'need' is a number from 1 to 1",
    ),
    (
        "policy: p\nchecks: {a: {of: {x: {use: keywords, words: [y]}}, words: [z]}}",
        ":2:",
        "settings of a kind belong to a member",
    ),
    ("policy: p\nchecks: {a: {of: {x: {use: keyword, words: [y]}}}}", ":2:", "did you mean 'keywords'"),
    ("policy: p\nchecks: {a: {do: redact, of: {x: {use: keywords, words: [y]}}}}", ":2:", "can block or flag"),
    ("policy: p\nchecks: {toxicity: {threshold: 2}}", ":2:", "less than 1"),
    ("policy: p\ntests: [{say: x}]\nchecks: {a: {use: keywords, words: [x]}}", ":2:", "'expect' is missing"),
    (
        "policy: p\nchecks: {a: {use: keywords, words: [x]}}\ntests:\n  - {say: y, expect: pass}\n  - {say: x, expect: pass}",
        ":5:5: ",
        "the test fails (plain): expected pass, and it was blocked (a: block)",
    ),
    (
        "policy: p\nchecks: {a: {use: keywords, words: [x]}}\ntests: [{say: y, given: {b: pass}, expect: pass}]",
        ":3:26: ",
        "the policy has no check 'b'",
    ),
    (
        "policy: p\nchecks: {a: {use: judge, model: m}}\ntests: [{say: y, expect: pass}]",
        ":3:9: ",
        "'a' asks a model: say under 'given'",
    ),
    (
        "policy: p\nfor: {endpoints: [chat, respones]}\nchecks: {a: {use: keywords, words: [x]}}",
        ":2:25: ",
        "no endpoint 'respones', did you mean 'responses'?",
    ),
    (
        "policy: p\nopaque: block\nchecks: {opaque: {use: keywords, words: [x]}}",
        ":3:10: ",
        "brings a check of this name",
    ),
    ("policy: p\nchecks: {a: &x {use: keywords, words: [x]}, b: *x}", ":2:13: ", "anchors and aliases"),
    ("policy: !!python/name:os.system p\nchecks: {}", ":1:9: ", "tags are not supported"),
    ("policy: [\n", ":2:1: ", "not valid YAML"),
    ("- a\n- b", ":1:1: ", "must be a mapping"),
    ("", ":1:1: ", "must be a mapping"),
]


@pytest.mark.parametrize(("text", "place", "said"), MISTAKES, ids=range(len(MISTAKES)))
def test_every_mistake_has_its_place_and_its_reason(tmp_path, text, place, said):
    told = wrong(tmp_path, text)
    assert f"p.yaml{place}" in told
    assert said in told


def test_all_mistakes_are_told_at_once(tmp_path):
    text = "policy: p\nchecks:\n  a: {use: keywords}\n  b: {use: nothing}\n  c: {use: length, max_wrds: 3}\n"
    assert len(wrong(tmp_path, text).splitlines()) >= 3


def test_a_model_that_the_house_does_not_have(tmp_path):
    told = wrong(
        tmp_path, "policy: p\nchecks:\n  a: {use: judge, model: smal}", known_model=lambda name: name == "small"
    )
    assert "p.yaml:3:19" in told
    assert "no model 'smal'" in told


def test_two_policies_of_one_name(tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.yaml").write_text("policy: p\nchecks: {a: {use: keywords, words: [x]}}")
    with pytest.raises(PolicyError, match="there is a policy 'p' already"):
        load_policies(tmp_path)


def test_a_folder_without_policies_and_no_folder_at_all(tmp_path):
    with pytest.raises(PolicyError, match="holds no policy"):
        load_policies(tmp_path)
    with pytest.raises(PolicyError, match="does not exist"):
        load_policies(tmp_path / "none")


def test_yaml_on_and_off_are_words_not_booleans(tmp_path):
    (tmp_path / "p.yaml").write_text("policy: p\nchecks: {a: {use: keywords, words: [on, off, yes, no]}}")
    assert load_policies(tmp_path).policies[0].entries["a"].check.words == ["on", "off", "yes", "no"]


def test_the_shipped_policies_load_and_the_built_in_one_is_the_same():
    names = [p.name for p in load_policies(ROOT / "policies", known_model=lambda _: True).policies]
    assert names == ["baseline", "data", "safety"]
    assert BUILT_IN.read_bytes() == (ROOT / "policies" / "baseline.yaml").read_bytes()


def planned(tmp_path, *texts, models=("m",), endpoint="chat"):
    for number, text in enumerate(texts):
        (tmp_path / f"{number}.yaml").write_text(text)
    return plan(load_policies(tmp_path), models=models, endpoint=endpoint)


WORDS = "{use: keywords, words: [x]}"
JUDGE = "{use: judge, model: j}"


def test_a_check_on_both_sides_is_two_watches_and_local_ones_go_first(tmp_path):
    made = planned(tmp_path, f"policy: p\nchecks: {{w: {WORDS}, j: {JUDGE}}}")
    assert [(w.name, w.side, w.when) for w in made.watches] == [
        ("p.w", "input", "before"),
        ("p.w", "output", "before"),
        ("p.j", "input", "beside"),
        ("p.j", "output", "beside"),
    ]
    assert set(made.checks) == {"p.w", "p.j"}
    assert made.policies[0].startswith("p@")


@pytest.mark.parametrize(
    ("binding", "models", "endpoint", "binds"),
    [
        ("{}", ("m",), "chat", True),
        ("{models: ['gpt-*']}", ("gpt-5",), "chat", True),
        ("{models: ['gpt-*']}", ("small", "gpt-5"), "chat", True),
        ("{models: 'gpt-*'}", ("GPT-5",), "chat", False),
        ("{endpoints: [responses]}", ("m",), "chat", False),
        ("{endpoints: [chat]}", ("m",), "chat", True),
    ],
)
def test_which_requests_a_policy_is_for(tmp_path, binding, models, endpoint, binds):
    made = planned(tmp_path, f"policy: p\nfor: {binding}\nchecks: {{w: {WORDS}}}", models=models, endpoint=endpoint)
    assert bool(made.watches) is binds


def test_modes_defaults_and_overrides(tmp_path):
    text = """
policy: p
defaults: {timeout: 500ms, on_error: allow}
checks:
  a: {use: keywords, words: [x], at: input}
  b: {use: keywords, words: [x], at: input, mode: shadow, timeout: 3s, on_error: block}
  c: {use: keywords, words: [x], at: input, mode: disabled}
  d: {use: keywords, words: [x], at: content, do: flag, stream: after}
"""
    a, b, d = planned(tmp_path, text).watches
    assert (a.timeout, a.fails_open, a.gates) == (0.5, True, True)
    assert (b.timeout, b.fails_open, b.gates) == (3.0, False, False)
    assert (d.gates, d.holds, d.places) == (False, False, frozenset({"content"}))


def test_a_shadow_policy_enforces_nothing(tmp_path):
    made = planned(tmp_path, "policy: p\nmode: shadow\nchecks: {a: {use: keywords, words: [x], mode: enforce}}")
    assert not any(w.gates for w in made.watches)


def test_the_strictest_way_to_say_a_block_wins(tmp_path):
    soft = f"policy: soft\nblock_as: message\nrefusal: Soft.\nchecks: {{w: {WORDS}}}"
    firm = f"policy: zfirm\nblock_as: refusal\nrefusal: Firm.\nchecks: {{w: {WORDS}}}"
    made = planned(tmp_path, soft, firm)
    assert (made.block_as, made.refusal) == ("refusal", "Firm.")


def test_plans_are_kept_by_the_policies_that_bind_and_not_by_the_names_that_clients_choose(tmp_path):
    (tmp_path / "p.yaml").write_text(f"policy: p\nchecks: {{w: {WORDS}}}")
    (tmp_path / "q.yaml").write_text(f"policy: q\nfor: {{models: ['gpt-*']}}\nchecks: {{w: {WORDS}}}")
    (tmp_path / "r.yaml").write_text(f"policy: r\nmode: disabled\nchecks: {{w: {WORDS}}}")
    policies = load_policies(tmp_path)
    for number in range(1500):
        for model, versions in ((f"m{number}", 1), (f"gpt-{number}", 2)):
            made = plan(policies, models=(model,), endpoint="chat", key=f"k{number}")
            assert len(made.policies) == versions
            assert plan(policies, models=(model,), endpoint="chat", key="another") is made
    assert len(policies.plans) == 2
    assert len(policies.bindings) <= 1000


def test_nothing_is_kept_under_a_name_as_long_as_a_body(tmp_path):
    (tmp_path / "p.yaml").write_text(f"policy: p\nchecks: {{w: {WORDS}}}")
    policies = load_policies(tmp_path)
    assert plan(policies, models=("m" * 1_000_000,), endpoint="chat").watches
    assert not policies.bindings


def test_a_request_that_names_no_model_is_bound_by_every_policy(tmp_path):
    (tmp_path / "p.yaml").write_text("policy: p\nfor: {models: ['gpt-*']}\nchecks: {w: {use: keywords, words: [x]}}")
    policies = load_policies(tmp_path)
    assert plan(policies, models=("", ""), endpoint="responses").watches
    assert plan(policies, models=("gpt-5",), endpoint="responses").watches
    assert not plan(policies, models=("other",), endpoint="responses").watches


def test_a_policy_for_keys_that_nobody_has_cannot_act(tmp_path):
    file = tmp_path / "p.yaml"
    file.write_text("policy: p\nfor: {keys: [supprt-web]}\nchecks: {a: {use: keywords, words: [x]}}")
    load_policies(file)
    load_policies(file, keys=["supprt-web"])
    with pytest.raises(PolicyError, match=r"p.yaml:2:.*no key 'supprt-web', did you mean 'support-web'"):
        load_policies(file, keys=["support-web", "other"])
    file.write_text("policy: p\nfor: {keys: other-*}\nchecks: {a: {use: keywords, words: [x]}}")
    with pytest.raises(PolicyError, match=r"p.yaml:2:"):
        load_policies(file, keys=[])


NAMING = {
    "keywords": "files: [f]",
    "verbatim": "files: [f]",
    "json_schema": "file: f, at: output",
    "judge": "model: m, rules: f",
    "gpt_oss_safeguard": "model: m, rules: f",
}


def test_every_kind_that_names_files_is_here():
    naming = repr(beside._found)
    assert {kind for kind, made in KINDS.items() if naming in repr(get_type_hints(made, include_extras=True))} == set(
        NAMING
    )


@pytest.mark.parametrize("panel", [False, True])
@pytest.mark.parametrize("kind", NAMING)
def test_a_version_tells_what_the_files_said_that_a_policy_names(tmp_path, kind, panel):
    check = f"{{use: {kind}, {NAMING[kind]}}}"
    if panel:
        check = f"{{need: 1, of: {{one: {check.replace(', at: output', '')}}}, at: output}}"
    (tmp_path / "p.yaml").write_text(f"policy: p\nchecks:\n  a: {check}\n")
    versions = []
    for text in ('{"type": "object"}', '{"type": "string"}', '{"type": "object"}'):
        (tmp_path / "f").write_text(text * (1 if kind == "json_schema" else 20))
        versions += [policy.version for policy in load_policies(tmp_path).policies]
    assert versions[0] == versions[2] != versions[1]


def test_a_policy_that_names_no_file_has_the_digest_of_its_own(tmp_path):
    (tmp_path / "p.yaml").write_text("policy: p\nchecks: {a: {use: keywords, words: [x]}}\n")
    (policy,) = load_policies(tmp_path).policies
    assert policy.hash == hashlib.sha256((tmp_path / "p.yaml").read_bytes()).hexdigest()[:8]
