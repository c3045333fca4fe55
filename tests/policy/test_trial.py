"""Tests inside policy files: what they see, and how `outrider test` tells it."""

import json
import subprocess
import sys
import xml.etree.ElementTree as ET

import pytest

from gateway.policy.load import load_policies
from gateway.policy.trial import play

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
tests:
"""
QUIET = "given: {harm.guard: pass, harm.mod: pass, tone: pass}"


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
