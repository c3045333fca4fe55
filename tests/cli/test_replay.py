"""`outrider replay`: kept traffic under other policies, from a store or a file, on one machine or a cluster."""

import json

import pytest

from gateway.policy.load import load_policies
from gateway.policy.replayed import NoText, Tally, replayed
from tests.end_to_end.process import Fake, Gateway, Wire, ask, outrider, plain_answer, send_json

OLD = """
policy: p
checks:
  words: {use: keywords, words: [apple], at: [input, output], do: block}
  judge: {use: judge, model: m, question: 'Is it bad?', at: input, do: block, on_error: allow, timeout: 1s}
"""
NEW = OLD.replace("[apple]", "[pear]")


async def says(seen, writer):
    """A judge that finds plums bad, and a model that repeats what it was told."""
    text = json.dumps(seen.body["messages"])
    if "Is it bad?" in text:
        await send_json(writer, plain_answer("YES" if "plum" in text else "NO"))
    else:
        await send_json(writer, plain_answer("You said: " + seen.body["messages"][-1]["content"]))


TEXTS = ["an apple", "a pear", "a plum", "a nut", "a fig"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a store of traffic under the old policy, and the new one in `new`."""
    import asyncio

    folder = tmp_path_factory.mktemp("replay")

    async def traffic():
        async with Fake(says) as fake:
            with Gateway(folder, fake.house, OLD, audit_text="full") as gateway:
                for text in TEXTS:
                    async with Wire(gateway.port) as wire:
                        await wire.post(ask(text))
                        await wire.read()

    asyncio.run(traffic())
    for name, policy in (("same", OLD), ("new", NEW)):
        (folder / name).mkdir()
        (folder / name / "p.yaml").write_text(policy)
    return folder


STORE = "sqlite:///outrider.db"


def test_the_same_policies_change_nothing(folder):
    status, said, errors = outrider(folder, "replay", STORE, "--policies", "same")
    assert (status, errors) == (0, "")
    assert "5 requests under p@" in said
    assert "0 would have ended otherwise" in said


def test_other_policies_tell_what_they_would_change_by_check_and_with_examples(folder):
    status, said, errors = outrider(folder, "replay", STORE, "--policies", "new", "--json")
    assert (status, errors) == (1, "")
    told = json.loads(said)
    assert (told["requests"], told["changed"]) == (5, 2)
    assert {name: change["count"] for name, change in told["changes"].items()} == {
        "block -> pass": 1,
        "pass -> block": 1,
    }
    rows = {row["check"]: row for row in told["checks"]}
    words = rows["p.words/input"]
    assert (words["hits_before"], words["hits_now"], words["new"], words["gone"]) == (1, 1, 1, 1)
    assert words["new_ids"] == told["changes"]["pass -> block"]["ids"]
    judge = rows["p.judge/input"]  # from the record, but for the request that it never saw
    assert (judge["hits_before"], judge["hits_now"], judge["unknown"]) == (1, 1, 1)
    status, said, _ = outrider(folder, "replay", STORE, "--policies", "new")
    assert "pass -> block: 1" in said
    assert "--live asks them" in said


def test_an_exported_file_says_the_same_as_the_store(folder):
    assert outrider(folder, "audit", "export", "--out", "r.jsonl")[0] == 0
    from_store = outrider(folder, "replay", STORE, "--policies", "new", "--json")
    assert outrider(folder, "replay", "r.jsonl", "--policies", "new", "--json") == from_store


async def test_live_asks_the_models_again(folder):
    import asyncio

    async with Fake(says) as fake:
        (folder / "live.yaml").write_text(fake.house)
        args = (STORE, "--policies", "new", "--json", "--live")
        status, said, errors = await asyncio.to_thread(outrider, folder, "replay", *args, config="live.yaml")
        assert (status, errors) == (1, "")
        assert len(fake.seen) == 5
    judge = next(row for row in json.loads(said)["checks"] if row["check"] == "p.judge/input")
    assert (judge["hits_now"], judge["unknown"]) == (1, 0)


def test_a_cluster_comes_to_the_same(folder):
    rows = [json.loads(line) for line in (folder / "r.jsonl").read_text().splitlines()]
    many = [{**row, "id": f"{row['id']}-{n}"} for n in range(150) for row in rows]
    (folder / "many.jsonl").write_text("".join(json.dumps(row) + "\n" for row in many))
    alone = outrider(folder, "replay", "many.jsonl", "--policies", "new", "--json")
    spread = outrider(folder, "replay", "many.jsonl", "--policies", "new", "--json", "--ray", "local")
    assert json.loads(alone[1])["requests"] == 750
    assert (spread[0], spread[1]) == (alone[0], alone[1]), spread[2]


def test_parts_add_up_to_the_whole(folder):
    rows = [json.loads(line) for line in (folder / "r.jsonl").read_text().splitlines()] * 3
    policies = load_policies(folder / "new", tested=False)
    whole = Tally()
    for row in rows:
        whole.take(row, policies)
    for cut in range(len(rows) + 1):
        parts = Tally(), Tally()
        for number, row in enumerate(rows):
            parts[number >= cut].take(row, policies)
        parts[0].add(parts[1])
        assert parts[0].told() == whole.told()


@pytest.mark.parametrize(
    "texts",
    [None, {"input": [], "output": []}, {"request": {}, "input": [{"path": "a", "place": "user", "hash": "0"}]}],
)
def test_a_receipt_without_its_texts_is_counted_and_not_played(folder, texts):
    policies = load_policies(folder / "new", tested=False)
    with pytest.raises(NoText):
        replayed({"id": "r", "texts": texts}, policies)
    tally = Tally()
    tally.take({"id": "r", "texts": texts}, policies)
    assert (tally.requests, tally.without_text) == (0, 1)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("nothing.jsonl", "--policies", "new"), "nothing.jsonl"),
        ((STORE, "--policies", "nowhere"), "nowhere"),
        ((STORE, "--policies", "new", "--decision", "left"), "there are no receipts to play"),
    ],
)
def test_what_cannot_be_used_is_told(folder, args, said):
    status, _, errors = outrider(folder, "replay", *args)
    assert status == 2
    assert said in errors
