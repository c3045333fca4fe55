"""`outrider replay votes` on recorded answers, against figures counted by hand."""

import ast
import itertools
import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.cli import votes
from gateway.config.load import ConfigError, read_house
from gateway.fanout.base import Facts
from gateway.fanout.contest import Answer, Finished

FILE = Path(__file__).parents[1] / "corpus" / "votes.jsonl"
ROWS = [json.loads(line) for line in FILE.read_text().splitlines()]
MODELS = sorted(ROWS[0]["ballots"])


def replay(*words):
    command = [sys.executable, "-m", "gateway", "replay", "votes", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def value(text):
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError):
        return text


def alike(one, two):
    if isinstance(one, float) or isinstance(two, float):
        return isinstance(one, (int, float)) and isinstance(two, (int, float)) and abs(one - two) <= 0.01
    return type(one) is type(two) and one == two


def right(row, model):
    said = row["ballots"][model]
    return said is not None and alike(value(said), value(row["truth"]))


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    calibration = tmp_path_factory.mktemp("c") / "calibration.json"
    done = replay(
        FILE,
        "--json",
        "--ranks",
        "1-6",
        "--cascade",
        "Mistral-Large-2,gemma-2-27b-it:gpt-4o-2024-08-06",
        "--calibration",
        calibration,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), calibration


def test_members(told):
    figures, _ = told
    assert figures["questions"] == 120
    assert figures["read_as"] == "literal"
    mine = {model: sum(right(row, model) for row in ROWS) / 120 for model in MODELS}
    assert {one["model"]: one["accuracy"] for one in figures["members"]} == pytest.approx(mine, abs=0.0001)
    ranks = [one["accuracy"] for one in figures["members"]]
    assert ranks == sorted(ranks, reverse=True)


def test_panels_by_hand(told):
    figures, _ = told
    best = [one["model"] for one in figures["members"][:6]]
    found = []
    for panel in itertools.combinations(best, 5):
        hits = 0
        for row in ROWS:
            groups = []
            for model in panel:
                said = row["ballots"][model]
                if said is None:
                    continue
                group = next((g for g in groups if alike(g[0], value(said))), None)
                if group is None:
                    groups.append([value(said), 1])
                else:
                    group[1] += 1
            winner = max(groups, key=lambda g: g[1], default=[None, 0])
            hits += alike(winner[0], value(row["truth"]))
        found.append(hits / 120)
    assert figures["panels"]["count"] == 6
    assert figures["panels"]["vote"] == pytest.approx(sum(found) / 6, abs=0.002)
    rows = {(r["votes"], r["of"]): r for r in figures["agreement"]}
    assert rows[5, 5]["low"] <= rows[5, 5]["accuracy"] <= rows[5, 5]["high"]
    assert rows[5, 5]["accuracy"] > rows[3, 5]["accuracy"]
    assert sum(r["n"] for r in rows.values()) == 6 * 120


def test_a_cascade_by_hand(told):
    figures, _ = told
    hits = escalated = 0
    for row in ROWS:
        one, two = (row["ballots"][m] for m in ("Mistral-Large-2", "gemma-2-27b-it"))
        if one is not None and two is not None and alike(value(one), value(two)):
            hits += right(row, "Mistral-Large-2")
        else:
            escalated += 1
            hits += right(row, "gpt-4o-2024-08-06")
    (cascade,) = figures["cascades"]
    assert cascade["accuracy"] == pytest.approx(hits / 120)
    assert cascade["escalated"] == pytest.approx(escalated / 120)


def test_correlation_and_effective_votes():
    one, two = [True, True, False, False], [True, False, True, False]
    assert votes.phi(one, one) == pytest.approx(1)
    assert votes.phi(one, two) == pytest.approx(0)
    assert votes.phi(one, [not x for x in one]) == pytest.approx(-1)
    assert votes.phi([True] * 4, one) is None
    assert votes.correlation([one, one, two]) == pytest.approx(1 / 3)


def test_the_calibration_is_read_by_a_vote(told, tmp_path):
    _figures, path = told
    (tmp_path / "calibration.json").write_bytes(path.read_bytes())
    (tmp_path / "outrider.yaml").write_text(
        "upstreams: {up: {scripted: []}}\ndefault_upstream: up\n"
        "models:\n  v: {strategy: vote, members: [{model: a}, {model: b}, {model: c}, {model: d}, {model: e}],"
        " calibration: calibration.json, quorum: 1, early_stop: none}\n"
    )
    fan = read_house(tmp_path / "outrider.yaml").fans["v"]
    contest = fan.strategy.contest({"messages": []}, Facts(calibration=fan.calibration))
    contest.start()
    for key in "abcde":
        contest.take(Finished(key, Answer({"content": "yes"}, "stop")))
    table = {(r["votes"], r["of"]): r["accuracy"] for r in json.loads(path.read_text())["agreement"]}
    assert contest.report.confidence == table[5, 5]
    assert contest.report.said["calibrated"] is True
    assert not math.isnan(contest.report.confidence)
    (tmp_path / "calibration.json").write_text("{}")
    with pytest.raises(ConfigError, match="is no file that"):
        read_house(tmp_path / "outrider.yaml")


def test_what_cannot_be_used_is_said_with_its_line(tmp_path):
    broken = tmp_path / "x.jsonl"
    broken.write_text('{"truth": 1, "ballots": {"a": "1"}}\n{"ballots": 3}\n')
    done = replay(broken)
    assert done.returncode == 2
    assert "x.jsonl:2: needs 'truth' and 'ballots'" in done.stderr
    assert replay(tmp_path / "none").returncode == 2
    assert "no model 'nobody'" in replay(FILE, "--panel", "nobody").stderr
    assert "6-12" in replay(FILE, "--ranks", "x").stderr


def test_the_page_for_people():
    done = replay(FILE, "--ranks", "1-6")
    assert done.returncode == 0
    for said in ("Members", "Panels of 5 (6)", "beats its best member", "effective votes", "Advice:"):
        assert said in done.stdout
