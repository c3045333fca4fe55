"""Tests inside policy files: what they see, and how `outrider test` tells it."""

import json
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.policy.load import BUILT_IN, PolicyError, load_policies
from gateway.policy.model import Reply
from gateway.policy.plan import failing, plan_for
from gateway.policy.replies import ways
from gateway.policy.trial import play
from gateway.wire.endpoints import CHAT

ROOT = Path(__file__).parent.parent.parent
POLICY = """
policy: p
checks:
  words: {use: keywords, words: [bomb], at: input}
  mail: {use: pii, entities: [email], do: mask}
  harm:
    at: input
    need: 2
    of:
      guard: {use: judge, model: m}
      mod: {use: moderation, model: m}
    on_error: allow
  tone: {use: judge, model: m, at: output, mode: shadow, do: flag}
  rude: {use: keywords, words: [rude], at: output, do: flag}
  tools: {at: tool_call, deny: [wipe], deny_if: {run: {cmd: '^rm '}}}
tests:
"""
QUIET = "given: {harm.guard: pass, harm.mod: pass, tone: pass}"
EVERY = f"stream: every_split, {QUIET}"
SEEN = "client_contains: run, client_not_contains: a@b.co"
CALL = """{id: c, type: function, function: {name: run, arguments: '{"cmd": "rm x"}'}}"""
MAIL = "{name: run, arguments: {to: a@b.co}}"


def failures(tmp_path, test):
    (tmp_path / "p.yaml").write_text(f"{POLICY}  - {test}\n")
    (policy,) = load_policies(tmp_path / "p.yaml", tested=False).policies
    return [failure.message for failure in play(policy, policy.head.tests[0])]


@pytest.mark.parametrize(
    ("test", "said"),
    [
        (f"{{say: hello, {QUIET}, expect: pass}}", None),
        (f"{{say: a bomb, {QUIET}, expect: block}}", None),
        (f"{{say: a bomb, {QUIET}, expect: pass}}", "expected pass, and it was blocked (words: block)"),
        ("{say: hi, given: {harm.guard: block, harm.mod: block, tone: pass}, expect: {harm: block}}", None),
        ("{say: hi, given: {harm.guard: block, tone: pass}, fail: harm.mod, expect: pass}", None),
        ("{say: hi, given: {harm.guard: pass, harm.mod: pass, tone: block}, expect: {tone: flag}}", None),
        (f"{{reply: that is rude, {QUIET}, expect: flag}}", None),
        (f"{{reply: that is fine, {QUIET}, expect: flag}}", "expected a flag, and there is none"),
        (f"{{say: I am a@b.co, reply: 'ok', {QUIET}, expect: {{mail: mask}}, upstream_not_contains: a@b.co}}", None),
        (f"{{say: I am a@b.co, {QUIET}, expect: mask, upstream_contains: a@b.co}}", "does not hold 'a@b.co'"),
        (f"{{reply: write to a@b.co, stream: every_split, {QUIET}, expect: mask, client_not_contains: a@b}}", None),
        (f"{{reply: hello, {QUIET}, expect: pass, client_not_contains: ell}}", "holds 'ell'"),
        (f"{{messages: [{{role: system, content: bomb}}], {QUIET}, expect: block}}", None),
        (f"{{reply: {{tool_calls: [{{name: run, arguments: {{cmd: ls}}}}]}}, {QUIET}, expect: pass}}", None),
        (f"{{reply: {{tool_calls: [{{name: wipe, arguments: {{}}}}]}}, {QUIET}, expect: {{tools: block}}}}", None),
        (f"{{reply: {{content: well, tool_calls: [{CALL}]}}, {EVERY}, expect: {{tools: block}}}}", None),
        (f"{{reply: {{tool_calls: [{MAIL}]}}, {EVERY}, expect: {{mail: mask}}, {SEEN}}}", None),
        (
            f"{{reply: {{refusal: rude, content: null}}, stream: every_split, {QUIET}, expect: flag, client_contains: rude}}",
            None,
        ),
    ],
)
def test_outcomes(tmp_path, test, said):
    found = failures(tmp_path, test)
    assert found == [] if said is None else any(said in one for one in found), found


def run(folder, *words):
    command = [sys.executable, "-m", "gateway", "test", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=folder, check=False)


def test_the_command(tmp_path):
    (tmp_path / "policies").mkdir()
    good, bad = f"{{say: hello, {QUIET}, expect: pass}}", f"{{name: loud, say: bomb, {QUIET}, expect: pass}}"
    (tmp_path / "policies" / "p.yaml").write_text(f"{POLICY}  - {good}\n  - {bad}\n")
    done = run(tmp_path, "--junit", "out.xml")
    assert done.returncode == 1
    assert "ok    p: hello" in done.stdout
    assert "FAIL  p: loud" in done.stdout
    assert "2 tests, 1 failed" in done.stdout
    suite = ET.parse(tmp_path / "out.xml").getroot()
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")
    told = json.loads(run(tmp_path, "--json").stdout)
    assert [row["passed"] for row in told["tests"]] == [True, False]
    (tmp_path / "policies" / "p.yaml").write_text(f"{POLICY}  - {good}\n")
    assert run(tmp_path).returncode == 0
    (tmp_path / "policies" / "p.yaml").write_text("policy: p\n")
    assert run(tmp_path).returncode == 2


def test_without_a_folder_the_built_in_baseline_is_tested(tmp_path, monkeypatch):
    done = run(tmp_path)
    assert (done.returncode, "ok    baseline: " in done.stdout) == (0, True)
    assert "the built-in baseline" in done.stderr
    (tmp_path / "policies").mkdir()
    assert run(tmp_path).returncode == 2  # it holds none
    monkeypatch.setenv("OUTRIDER_POLICIES", "named.yaml")
    (tmp_path / "named.yaml").write_text(f"{POLICY}  - {{say: hello, {QUIET}, expect: pass}}\n")
    done = run(tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "ok    p: hello" in done.stdout


def test_the_baseline_that_is_shown_is_the_one_that_is_built_in():
    assert (ROOT / "policies" / "baseline.yaml").read_bytes() == BUILT_IN.read_bytes()


def told(tmp_path, *tests):
    (tmp_path / "p.yaml").write_text(POLICY + "".join(f"  - {test}\n" for test in tests))
    return run(tmp_path, "p.yaml")


def test_a_failure_shows_what_was_expected_and_all_that_happened(tmp_path):
    done = told(tmp_path, f"{{say: I am a@b.co, reply: that is rude, {QUIET}, expect: {{mail: redact, rude: pass}}}}")
    lines = [line.strip() for line in done.stdout.splitlines()]
    assert lines[1:6] == ["plain:", "- mail: redact", "+ mail: mask", "- rude: pass", "+ rude: flag"]
    assert "words  pass on input" in lines
    assert "mail   mask on user (email), pass on input, pass on output" in lines
    assert "tone   pass on output (in shadow)" in lines
    (upstream,) = [line for line in lines if line.startswith("upstream got")]
    assert "I am <EMAIL_" in upstream
    assert "a@b.co" not in upstream
    assert 'client got    "that is rude"' in lines


def test_a_failure_says_what_was_not_asked_and_what_failed(tmp_path):
    done = told(
        tmp_path,
        f"{{say: a bomb, {QUIET}, expect: pass}}",
        "{say: hi, fail: tone, given: {harm: block}, expect: pass}",
    )
    assert "words  block on user (keywords)" in done.stdout
    assert "tone   was not asked" in done.stdout
    assert "upstream got  nothing: it was not asked" in done.stdout
    assert "client got    nothing of the answer" in done.stdout
    assert "harm   block on input (given)" in done.stdout


def test_a_failure_says_at_which_split(tmp_path):
    """A scanner that looks at each piece by itself would pass plain and fail where its word is cut: told as such."""
    (tmp_path / "p.yaml").write_text(
        f"{POLICY}  - {{reply: so rude, stream: every_split, {QUIET}, expect: {{rude: flag}}}}\n"
    )
    (policy,) = load_policies(tmp_path / "p.yaml").policies
    trial = policy.head.tests[0]
    played = [way for _, _, way in ways(trial.reply, cut=True)]
    assert played[:3] == ["plain", "streamed", "streamed, every character by itself"]
    assert played[3:] == [f"streamed, cut after {'so rude'[:n]!r}" for n in range(1, 7)]
    calls = Reply.model_validate({"tool_calls": [{"name": "run", "arguments": {}}]})
    assert [way for _, _, way in ways(calls, cut=True)][3:] == ["streamed, arguments of 'run' cut after '{'"]


PART = st.text(max_size=8)
REPLIES = st.builds(
    lambda content, refusal, calls: {"content": content, "refusal": refusal, "tool_calls": calls},
    st.none() | PART,
    st.none() | PART,
    st.lists(st.fixed_dictionaries({"name": st.sampled_from(["run", "get"]), "arguments": PART}), max_size=3),
)


@given(REPLIES)
def test_every_way_says_the_same(said):
    """However a reply is cut, what a client puts together of it is the reply."""
    reply = Reply.model_validate(said)
    for stream, told_of, way in ways(reply, cut=True):
        whole = {"content": "", "refusal": "", "calls": {}}
        for one in told_of:
            for name in ("content", "refusal"):
                whole[name] += one.get(name) or ""
            for position, call in enumerate(one.get("tool_calls") or ()):
                kept = whole["calls"].setdefault(call.get("index", position), ["", ""])
                kept[0] += call["function"].get("name", "")
                kept[1] += call["function"]["arguments"]
        assert whole["content"] == (said["content"] or ""), way
        assert whole["refusal"] == (said["refusal"] or ""), way
        assert [tuple(call) for call in whole["calls"].values()] == [
            (call["name"], call["arguments"]) for call in said["tool_calls"]
        ], way
        assert stream or len(told_of) == 1


@pytest.mark.parametrize(
    ("test", "line", "said"),
    [
        (
            "{say: hi, given: {harm.gard: pass}, expect: pass}",
            "16:23",
            "no check 'harm.gard', did you mean 'harm.guard'?",
        ),
        ("{say: hi, fail: [tone, wrds], expect: pass}", "16:28", "no check 'wrds', did you mean 'words'?"),
        ("{say: hi, expect: {mial: mask}}", "16:24", "no check 'mial', did you mean 'mail'?"),
        ("{say: hi, expect: {harm.guard: block}}", "16:24", "no check 'harm.guard'"),
        ("{say: hi, exepct: pass}", "16:15", "unknown key 'exepct', did you mean 'expect'?"),
        ("{reply: {contnt: hi}, expect: pass}", "16:14", "unknown key 'contnt', did you mean 'content'?"),
        ("{reply: {tool_calls: [{nam: x}]}, expect: pass}", "16:28", "unknown key 'nam', did you mean 'name'?"),
        ("{reply: {tool_calls: [{name: x, function: {name: x}}]}, expect: pass}", "16:27", "or 'function' with both"),
        ("{reply: {tool_calls: [{name: x, arguments: 3}]}, expect: pass}", "16:37", "are text, or a mapping"),
        (
            "{say: hi, messages: [{role: user, content: hi}], expect: pass}",
            "16:5",
            "give 'say' or 'messages', not both",
        ),
    ],
)
def test_a_mistake_in_a_test_is_told_with_its_place_and_the_likely_name(tmp_path, test, line, said):
    (tmp_path / "p.yaml").write_text(f"{POLICY.lstrip()}  - {test}\n")
    with pytest.raises(PolicyError) as caught:
        load_policies(tmp_path / "p.yaml")
    (told_of,) = [one for one in str(caught.value).splitlines() if said in one]
    assert f"p.yaml:{line}" in told_of


def test_the_report_for_a_build_server_holds_the_whole_failure(tmp_path):
    (tmp_path / "p.yaml").write_text(f'{POLICY}  - {{say: "a bomb \\x1b <&>", {QUIET}, expect: pass}}\n')
    assert run(tmp_path, "p.yaml", "--junit", "out.xml").returncode == 1
    (failure,) = ET.parse(tmp_path / "out.xml").getroot().iter("failure")
    assert "+ blocked (words: block)" in failure.text
    assert "words" in failure.text
    assert failure.get("message").startswith("expected pass")
    (row,) = json.loads(run(tmp_path, "p.yaml", "--json").stdout)["tests"]
    (detail,) = row["details"]
    assert (detail["way"], detail["expected"]) == ("plain", "pass")
    assert detail["checks"]["words"] == "block on user (keywords)"
    assert detail["upstream"] is None


FAILS = """
policy: p
checks:
  mine: {use: judge, model: m, at: PLACE, do: DO, on_error: ERROR, mode: MODE}
tests:
  - {fail: mine, expect: EXPECT}
"""


@pytest.mark.parametrize("place", ["input", "output"])
@pytest.mark.parametrize("does", ["block", "flag"])
@pytest.mark.parametrize("error", ["block", "allow"])
@pytest.mark.parametrize("mode", ["enforce", "shadow"])
def test_what_is_said_of_a_failure_is_what_comes_of_one(tmp_path, place, does, error, mode):
    """`outrider check` says it in words; a test in which the check fails shows it."""
    text = FAILS.replace("PLACE", place).replace("DO", does).replace("ERROR", error).replace("MODE", mode)
    words = {"blocks:": "block", "flags,": "flag", "lets": "pass", "nothing:": "pass"}
    (tmp_path / "p.yaml").write_text(text.replace("EXPECT", "pass"))
    (policy,) = load_policies(tmp_path / "p.yaml", tested=False).policies
    (watch,) = plan_for(policy, CHAT.read(b'{"model":"m","messages":[{"role":"user","content":"hi"}]}')).watches
    outcome = words[failing(watch).split()[0]]
    (tmp_path / "p.yaml").write_text(text.replace("EXPECT", outcome))
    load_policies(tmp_path / "p.yaml")
