"""A kind from another package, found through its entry point: the example of the documentation, as it stands there."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "outrider-shouting"
POLICY = "policy: manners\nchecks:\n  loud: {use: shouting, share: 0.8, at: input}\n"


@pytest.fixture
def installed(tmp_path):
    """What an installer makes of the package: its module, and the entry points beside it."""
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())
    site, points = tmp_path / "site", project["project"]["entry-points"]
    told = site / "outrider_shouting-0.1.0.dist-info"
    told.mkdir(parents=True)
    (told / "METADATA").write_text("Metadata-Version: 2.1\nName: outrider-shouting\nVersion: 0.1.0\n")
    lines = [
        line for group, named in points.items() for line in (f"[{group}]", *(f"{k} = {v}" for k, v in named.items()))
    ]
    (told / "entry_points.txt").write_text("\n".join(lines) + "\n")
    for name in project["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"]:
        shutil.copy(EXAMPLE / name, site)
    return site


def outrider(*words, cwd, site=None):
    environment = {**os.environ, **({"PYTHONPATH": str(site)} if site else {})}
    command = [sys.executable, "-m", "gateway", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=cwd, env=environment, check=False)


@pytest.mark.parametrize(
    ("text", "verdict"), [("THIS IS FAR TOO LOUD", "hit (capitals)"), ("This is fine, really", "clear")]
)
def test_a_kind_of_another_package(tmp_path, installed, text, verdict):
    (tmp_path / "policy.yaml").write_text(POLICY)
    done = outrider("scan", text, "--policies", "policy.yaml", cwd=tmp_path, site=installed)
    assert f"manners.loud (shouting, block): {verdict}" in done.stdout, done.stderr


def test_its_settings_are_checked_as_any(tmp_path, installed):
    (tmp_path / "policy.yaml").write_text(POLICY.replace("share: 0.8", "shar: 0.8"))
    done = outrider("scan", "x", "--policies", "policy.yaml", cwd=tmp_path, site=installed)
    assert done.returncode == 2
    assert "policy.yaml:3:" in done.stderr
    assert "did you mean 'share'" in done.stderr


def test_without_the_package_there_is_no_such_kind(tmp_path):
    (tmp_path / "policy.yaml").write_text(POLICY)
    done = outrider("scan", "x", "--policies", "policy.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert "there is no kind of check 'shouting'" in done.stderr
