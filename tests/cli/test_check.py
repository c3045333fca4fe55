"""`outrider check`: what would run for a model at an endpoint, when, for how long, and what a failure would do."""

import json
import re
import subprocess
import sys

import pytest

POLICIES = {
    "shop": """
policy: shop
for: {models: ["gpt-*"], endpoints: [chat]}
block_as: message
defaults: {timeout: 3s}
checks:
  mail: {use: pii, entities: [email], do: mask}
  harm: {use: judge, model: small, at: input, on_error: allow, timeout: 500ms}
  rude: {use: judge, model: small, at: output}
  tone: {use: judge, model: small, at: output, do: flag, stream: window}
  look: {use: judge, model: small, mode: shadow, at: input}
  hook: {use: webhook, url: "http://127.0.0.1:9", at: [user, content], stream: after}
  early: {use: judge, model: small, at: user, when: before}
""",
    "old": "policy: old\nmode: disabled\nchecks: {pii: {}}\n",
    "vectors": "policy: vectors\nfor: {endpoints: [embeddings]}\nchecks: {pii: {}}\n",
}
HOUSE = """
upstreams: {lab: {base_url: "http://127.0.0.1:9/v1"}}
default_upstream: lab
models: {small: {upstream: lab, model: qwen3-8b}}
"""


@pytest.fixture
def house(tmp_path):
    (tmp_path / "policies").mkdir()
    (tmp_path / "outrider.yaml").write_text(HOUSE)
    for name, text in POLICIES.items():
        (tmp_path / "policies" / f"{name}.yaml").write_text(text)
    return tmp_path


def check(folder, *words):
    command = [sys.executable, "-m", "gateway", "check", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=folder, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def groups(said):
    """Each heading -> the check and the rest of each row below it."""
    found = {}
    for part in said.split("\n\n")[1:]:
        head, _, *rows = part.strip("\n").split("\n")
        found[head] = dict(re.split(r"\s{2,}", row.strip(), maxsplit=1) for row in rows)
    return found


def test_what_runs_when_and_what_a_failure_does(house):
    said = check(house, "--model", "gpt-5")
    assert said.startswith("Plan for model 'gpt-5' at chat: shop@")
    assert "a block is told as message" in said
    assert "Not for it: old (disabled), vectors (for the endpoints embeddings)." in said
    found = groups(said)
    before, beside, answer, aside = found.values()
    assert list(found)[:3] == ["Before the call:", "Beside the call:", "On the answer:"]
    assert set(before) == {"shop.mail", "shop.early"}
    assert "blocks: the upstream is not asked" in before["shop.early"]
    assert set(beside) == {"shop.harm", "shop.hook"}
    assert "small (qwen3-8b at lab)" in beside["shop.harm"]
    assert "0.5 s" in beside["shop.harm"]
    assert "lets pass, and the receipt counts it" in beside["shop.harm"]
    assert "http://127.0.0.1:9" in beside["shop.hook"]
    assert "blocks: the call is dropped" in beside["shop.hook"]
    assert set(answer) == {"shop.mail", "shop.rude", "shop.hook"}
    assert re.search(r"whole\s+0\s+the whole answer\s+blocks: nothing leaves", answer["shop.rude"])
    assert re.search(r"after\s+all\s+none\s+blocks: nothing more leaves", answer["shop.hook"])
    assert "3 s" in answer["shop.rude"]
    assert "flags, and lets pass" in aside["shop.tone"]
    assert "nothing: it only looks on" in aside["shop.look"]


def test_another_model_and_another_endpoint_have_another_plan(house):
    assert "no policy matches" in check(house, "--model", "llama")
    assert "shop (for the models gpt-*)" in check(house, "--model", "llama")
    said = check(house, "--model", "gpt-5", "--endpoint", "embeddings")
    assert "vectors@" in said
    assert "shop (for the endpoints chat)" in said


def test_the_same_for_programs(house):
    told = json.loads(check(house, "--model", "gpt-5", "--json"))
    assert (told["endpoint"], told["block_as"]) == ("chat", "message")
    assert told["not_for_it"]["old"] == "disabled"
    rows = {(row["check"], row["side"]): row for row in told["checks"]}
    assert rows["shop.harm", "input"]["asks"] == "small (qwen3-8b at lab)"
    assert rows["shop.hook", "output"]["reads"] == "content"
    assert rows["shop.mail", "output"]["reads"] == "output"
    assert rows["shop.harm", "input"]["if_it_fails"].startswith("lets pass")
