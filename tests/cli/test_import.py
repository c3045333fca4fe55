"""`outrider import`: files in, a policy and an account of what it lacks out."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "policy" / "importers" / "examples"
WORDS = {
    "version": 1,
    "input": {"version": 1, "guardrails": [{"name": "Keyword Filter", "config": {"keywords": ["heron"]}}]},
}


def outrider(*words, cwd):
    command = [sys.executable, "-m", "gateway", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=cwd, check=False)


def test_what_is_mapped_whole_is_status_0_and_its_policy_is_tested_and_served(tmp_path):
    (tmp_path / "words.json").write_text(json.dumps(WORDS))
    done = outrider("import", "words.json", "--out", "policies", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "")
    assert "words: 1 checks, 2 tests, 0 not mapped" in done.stderr
    assert outrider("test", "policies", cwd=tmp_path).returncode == 0
    checked = outrider("check", "policies", cwd=tmp_path)
    assert "words.keyword-filter" in checked.stdout, checked.stderr
    again = outrider("import", "words.json", "--out", "policies", cwd=tmp_path)
    assert again.returncode == 2
    assert "--force" in again.stderr
    assert outrider("import", "words.json", "--out", "policies", "--force", cwd=tmp_path).returncode == 0


def test_what_is_not_mapped_is_status_1_and_told_thrice(tmp_path):
    done = outrider("import", EXAMPLES / "litellm.yaml", "--json", cwd=tmp_path)
    assert done.returncode == 1
    (report,) = json.loads(done.stdout)
    assert len(report["left"]) > 10
    for left in report["left"]:
        assert f"not mapped: {left['where']} = " in done.stderr
        assert f"#   {left['where']} = " in report["text"]
    assert report["mapped"]["guardrails[1].litellm_params.guardrail"] == "secrets"


def test_a_configuration_of_nemo_is_one_policy_of_all_its_files(tmp_path):
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "config.yml").write_text(
        "rails:\n  input:\n    flows: [self check input]\nmodels: [{type: main, model: gpt-4o}]\n"
    )
    (folder / "prompts.yml").write_text(
        'prompts:\n  - {task: self_check_input, content: "Is {{ user_input }} rude?"}\n'
    )
    (folder / "rails.co").write_text("define flow\n")
    done = outrider("import", folder, "--name", "shop", cwd=tmp_path)
    assert done.returncode == 1  # the Colang file
    assert 'files = ["rails.co"]' in done.stderr
    assert "Is (the text) rude?" in done.stdout
    split = outrider("import", folder / "config.yml", folder / "prompts.yml", cwd=tmp_path)
    assert split.returncode == 0, split.stderr
    assert "Is (the text) rude?" in split.stdout


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.json", "{", "a.json: "),
        ("a.json", '{"input": 1, "input": 2}', "the key 'input' is given twice"),
        ("a.json", '{"a": NaN}', "NaN is no number"),
        ("a.json", '{"a": "\\ud800"}', "a.json: "),
        ("a.yaml", "a: 1\na: 2\n", "the key 'a' is given twice"),
        ("a.yaml", "a: !!python/object:os.system x\n", "a.yaml: "),
        ("a.yaml", "greeting: hello\n", "say `--from`"),
        ("a.yaml", "[1]\n", "say `--from`"),
    ],
)
def test_what_cannot_be_read_is_status_2(tmp_path, name, text, said):
    (tmp_path / name).write_text(text)
    done = outrider("import", name, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_file_that_is_not_there(tmp_path):
    done = outrider("import", "none.json", cwd=tmp_path)
    assert done.returncode == 2
    assert "none.json: cannot be read" in done.stderr
