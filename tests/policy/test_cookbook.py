"""The cookbook: ten policies as people want them, each with tests that show both what it stops and what it leaves."""

from pathlib import Path

import pytest

from gateway.policy.load import load_policies
from gateway.policy.trial import results

ROOT = Path(__file__).parent.parent.parent
COOKBOOK = ROOT / "policies" / "cookbook"
FILES = sorted(COOKBOOK.glob("*.yaml"))


def test_there_are_ten_and_the_page_names_each():
    page = (ROOT / "docs" / "cookbook.md").read_text()
    assert len(FILES) == 10
    assert all(f"policies/cookbook/{file.name}" in page for file in FILES)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_each_passes_its_own_tests(file):
    (policy,) = load_policies(file).policies
    assert policy.name == file.stem
    outcomes = [trial.expect for trial in policy.head.tests]
    assert "pass" in outcomes
    assert any(outcome != "pass" for outcome in outcomes)
    assert results(policy) == {number: [] for number in range(len(outcomes))}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_its_tests_see_when_it_no_longer_acts(file, tmp_path):
    """Each recipe, disabled, fails its own tests: they would notice."""
    weakened = tmp_path / file.name
    weakened.write_text(file.read_text().replace(f"policy: {file.stem}\n", f"policy: {file.stem}\nmode: disabled\n"))
    (policy,) = load_policies(weakened, tested=False).policies
    failures = [failure for found in results(policy).values() for failure in found]
    assert failures
