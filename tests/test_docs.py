"""What the documentation says must be so."""

import re
import runpy
from pathlib import Path

import pytest

from gateway.policy.load import load_policies

ROOT = Path(__file__).parent.parent


def test_the_page_of_places_is_as_the_tables_say():
    page = runpy.run_path(str(ROOT / "docs" / "places.py"))["page"]()
    assert (ROOT / "docs" / "places.md").read_text() == page, "run `make docs`"


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


def test_links_between_pages_lead_somewhere():
    for page in [*(ROOT / "docs").rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]:
        for target in re.findall(r"\]\((?!http)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
