"""What the documentation says must be so."""

import re
import runpy
from pathlib import Path

import aiohttp
import pytest
import yaml

from gateway.checks import KINDS
from gateway.config.load import read_house
from gateway.fanout import STRATEGIES
from gateway.policy.load import load_policies
from gateway.policy.model import PolicySet
from gateway.server.app import Gateway
from gateway.server.upstreams import make_upstreams
from gateway.settings import Settings

ROOT = Path(__file__).parent.parent


def test_the_page_of_places_is_as_the_tables_say():
    page = runpy.run_path(str(ROOT / "docs" / "places.py"))["page"]()
    assert (ROOT / "docs" / "places.md").read_text() == page, "run `make docs`"


def test_every_kind_has_its_page_and_says_what_each_setting_is():
    pages = runpy.run_path(str(ROOT / "docs" / "kinds.py"))["pages"]()
    folder = ROOT / "docs" / "kinds"
    assert {file.name for file in folder.glob("*.md")} == set(pages) - {"../reference.md"}
    for name, page in pages.items():
        assert (folder / name).read_text() == page, "run `make docs`"
    settings = [line for page in pages.values() for line in page.splitlines() if re.match(r"\| `\w+` \|.*\|.*\|", line)]
    assert len(settings) > 150
    assert not [line for line in settings if line.endswith("|  |")], "a setting says nothing of itself"


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_the_example_of_a_kind_loads(kind, tmp_path, monkeypatch):
    told = yaml.safe_load((ROOT / "docs" / "kinds" / "notes.yaml").read_text())[kind]
    for file in ("book.txt", "policy.md", "token"):
        (tmp_path / file).write_text("some words that stand in a document and are long enough to be looked for there")
    for variable in ("AZURE_CONTENT_SAFETY_KEY", "LAKERA_GUARD_API_KEY", "AWS_BEARER_TOKEN_BEDROCK"):
        monkeypatch.setenv(variable, "x")
    (tmp_path / "p.yaml").write_text(f"policy: p\nchecks:\n  mine: {told['example']}\n")
    (policy,) = load_policies(tmp_path / "p.yaml").policies
    assert policy.entries["mine"].check.use == kind


def test_every_test_that_the_security_page_names_exists():
    text = (ROOT / "docs" / "security.md").read_text()
    named = re.findall(r"`([\w/]+\.py)(?:::(\w+))?`", text)
    assert named
    for file, test in named:
        found = ROOT / "tests" / file
        assert found.is_file(), file
        assert not test or f"def {test}" in found.read_text(), f"{file}::{test}"


@pytest.mark.parametrize("page", ["README.md", "docs/policies.md", "docs/getting-started.md"])
def test_every_policy_that_a_page_shows_can_be_loaded(page, tmp_path):
    found = re.findall(r"```yaml\n(policy:.*?)```", (ROOT / page).read_text(), re.DOTALL)
    assert found
    for text in found:
        (tmp_path / "p.yaml").write_text(text)
        assert load_policies(tmp_path / "p.yaml").policies


PAGE = (ROOT / "docs" / "fan-out.md").read_text()
EXAMPLES = re.findall(r"```yaml\n(upstreams:.*?)```", PAGE, re.DOTALL)
SAID = {
    "triage": ("I want my money back", "Refund."),
    "careful": ("the capital?", "Paris"),
    "both": ("the weather?", "It rains hard."),
    "analyst": ("a company", "## finance\n\nRevenue grows.\n\n## landscape\n\nTwo rivals."),
    "critic": ("some text", '"pass": true'),
    "fast": ("now?", "Here."),
}


@pytest.mark.parametrize("text", EXAMPLES, ids=range(len(EXAMPLES)))
async def test_every_example_of_fan_out_answers_as_the_page_says(text, tmp_path, aiohttp_raw_server):
    (tmp_path / "outrider.yaml").write_text(text)
    house = read_house(tmp_path / "outrider.yaml")
    (name,) = house.fans
    question, said = SAID[name]
    gateway = Gateway(Settings(), house, PolicySet(()), make_upstreams(house), keep=lambda _: None)
    server = await aiohttp_raw_server(gateway.handle)
    body = {"model": name, "messages": [{"role": "user", "content": question}]}
    url = server.make_url("/v1/chat/completions")
    async with aiohttp.ClientSession() as client, client.post(url, json=body) as answer:
        told = await answer.json()
    assert said in told["choices"][0]["message"]["content"]
    assert told["outrider"]["fanout"]["decision"] == "decided"


def test_the_page_of_fan_out_has_an_example_of_every_strategy():
    assert {word for text in EXAMPLES for word in re.findall(r"strategy: (\w+)", text)} == set(STRATEGIES)


def test_links_between_pages_lead_somewhere():
    for page in [*(ROOT / "docs").rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]:
        for target in re.findall(r"\]\((?!http)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
