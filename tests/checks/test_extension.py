"""A kind from another package, found through its entry point: the example of the documentation, as it stands there."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "outrider-shouting"
POLICY = "policy: manners\nchecks:\n  loud: {use: shouting, share: 0.8, at: input}\n"


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The package as pip builds and installs it, in a folder of its own."""
    folder = tmp_path_factory.mktemp("package")
    source, site = shutil.copytree(EXAMPLE, folder / "source"), folder / "site"
    options = ["--no-index", "--no-deps", "--no-build-isolation", "--disable-pip-version-check", "--target", site]
    command = [sys.executable, "-m", "pip", "install", "--quiet", *options, source]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
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
