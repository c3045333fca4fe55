"""Receipts are kept as promised: through kill -9, a full disk and a database that goes away, with the text they may hold."""

import asyncio
import json
import resource
import signal
import time

import pytest

from gateway.server.audit.opening import open_store
from gateway.server.audit.store import Selection
from tests.end_to_end.process import (
    Fake,
    Gateway,
    Wire,
    ask,
    begin_stream,
    chunk,
    end_stream,
    event,
    never,
    outrider,
    plain_answer,
    send_json,
    send_part,
    stream_all,
)
from tests.patience import LONG, until
from tests.servers import Postgres

FLAG = "policy: p\nchecks: {words: {use: keywords, words: [apple], at: [input, output], do: flag}}\n"


async def answers(seen, writer):
    if seen.body.get("stream"):
        await stream_all(writer, chunk({"content": "All is well."}), chunk(finish="stop"))
    else:
        await send_json(writer, plain_answer())


def kept(folder, url="", **settings):
    """Every receipt that the store holds, the oldest first, and that its chain is whole."""
    source = ["--from", url] if url else []
    status, said, errors = outrider(folder, "audit", "verify", *source, **settings)
    assert (status, errors) == (0, ""), said + errors
    status, said, errors = outrider(folder, "audit", "export", *source, **settings)
    assert (status, errors) == (0, ""), errors
    return [json.loads(line) for line in said.splitlines()]


async def answered(gateway, **more):
    """The id of an answer that came to its end, and its status; None where it did not."""
    try:
        async with Wire(gateway.port) as wire:
            await wire.post(ask(**more))
            await wire.read()
    except (ConnectionError, OSError):
        return None
    whole = wire.data.endswith(b"0\r\n\r\n") or (wire.data and json.loads(wire.body))
    return (wire.headers["x-outrider-id"], wire.status) if whole else None


MANY = 50


async def killed_under_load(gateway, ready):
    """The ids of good answers that some clients had; killed as soon as there are MANY and `ready` says so of them."""
    found = []

    async def client(number):
        while True:
            try:
                one = await answered(gateway, stream=number % 2 == 0)
            except (ValueError, IndexError):
                one = None  # cut in the middle
            if one is None:
                return
            if one[1] == 200:
                found.append(one[0])

    async with asyncio.TaskGroup() as group:
        for number in range(8):
            group.create_task(client(number))
        await until(lambda: len(found) >= MANY)
        await until(lambda: ready(found[:MANY]))
        gateway.process.kill()
    return found


def stored(url):
    store = open_store(url, read_only=True)
    try:
        return {json.loads(one.body)["id"] for one in store.read(Selection())}
    finally:
        store.close()


@pytest.fixture(scope="module")
def postgres():
    with Postgres() as server:
        yield server


@pytest.mark.parametrize("kind", ["sqlite", "jsonl", "postgresql"])
@pytest.mark.parametrize("durability", ["strict", "relaxed"])
async def test_kill_9_loses_nothing_that_was_promised(request, tmp_path, durability, kind):
    """Strict: no answer that ended. Relaxed: no receipt that was written meanwhile, which takes a moment."""
    url = f"{kind}:///{tmp_path}/kept/receipts.{kind}"
    if kind == "postgresql":
        url = request.getfixturevalue("postgres").url  # of both turns: one chain goes through them
    settings = {"audit_url": url, "audit_durability": durability, "audit_on_error": "refuse"}
    async with Fake(answers) as fake:
        gateway = Gateway(tmp_path, fake.house, FLAG, **settings)
        gateway.__enter__()
        if durability == "strict":
            promised = await killed_under_load(gateway, lambda _: True)
        else:
            promised = (await killed_under_load(gateway, lambda first: stored(url) >= {*first}))[:MANY]
        gateway.process.wait(LONG)
        gateway.process.stderr.close()
        with Gateway(tmp_path, fake.house, FLAG, **settings) as again:
            assert await answered(again)
        ids = [one["id"] for one in kept(tmp_path, url)]
        assert set(promised) <= set(ids)
        assert len(ids) == len(set(ids))


@pytest.mark.parametrize("durability", ["strict", "relaxed"])
async def test_a_database_that_goes_and_comes_back(tmp_path, durability):
    with Postgres() as server:
        settings = {"audit_url": server.url, "audit_durability": durability, "audit_on_error": "answer"}
        async with Fake(answers) as fake:
            with Gateway(tmp_path, fake.house, FLAG, **settings) as gateway:
                before = [await answered(gateway) for _ in range(5)]
                await asyncio.to_thread(server.stop)
                without = [await answered(gateway, stream=number % 2 == 0) for number in range(10)]
                await until(lambda: "receipts_not_kept" in gateway.log)
                await asyncio.to_thread(server.start)
                after = [await answered(gateway) for _ in range(5)]
                assert {status for _, status in [*before, *without, *after]} == {200}
                # a machine with much to do: what it waits for at its end is bounded
                await until(lambda: "receipts_kept_again" in gateway.log)
                assert "word" not in gateway.log.replace("words", "")
        ids = [one["id"] for one in kept(tmp_path, server.url)]
        assert set(ids) == {one for one, _ in [*before, *without, *after]}
        assert len(ids) == 20


async def test_where_no_receipt_can_be_kept_no_answer_is_given_if_so_chosen(tmp_path):
    with Postgres() as server:
        settings = {"audit_url": server.url, "audit_durability": "strict", "audit_on_error": "refuse"}
        async with Fake(answers) as fake:
            with Gateway(tmp_path, fake.house, FLAG, **settings) as gateway:
                assert (await answered(gateway))[1] == 200
                await asyncio.to_thread(server.stop)
                for stream in (False, True):
                    async with Wire(gateway.port) as wire:
                        await wire.post(ask(stream=stream))
                        await wire.read()
                    assert (wire.status, wire.error["code"]) == (503, "audit_unavailable")
                    assert b"All is well" not in wire.data or b"[DONE]" not in wire.data
                calls = len(fake.seen)
                async with Wire(gateway.port) as wire:
                    await wire.post(ask())
                    await wire.read()
                assert wire.status == 503
                assert len(fake.seen) == calls  # the upstream is not asked in vain
                async with Wire(gateway.port) as wire:
                    await wire.send(b"GET /readyz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
                    await wire.read()
                assert wire.status == 503
                await asyncio.to_thread(server.start)
                end = time.monotonic() + LONG
                while (await answered(gateway))[1] != 200:
                    assert time.monotonic() < end
                    await asyncio.sleep(0.1)
            assert kept(tmp_path, server.url)


@pytest.mark.parametrize("kind", ["sqlite", "jsonl"])
async def test_a_disk_that_is_full_and_then_is_not(tmp_path, kind):
    """The limit on the size of files stands for the disk's end: writing beyond it fails."""
    url = f"{kind}:///{tmp_path}/receipts.{kind}"
    async with Fake(answers) as fake:
        with Gateway(tmp_path, fake.house, FLAG, audit_url=url, audit_on_error="answer") as gateway:
            (first, _) = await answered(gateway)
            await until(lambda: first in stored(url))
            pid = gateway.process.pid
            usual = resource.prlimit(pid, resource.RLIMIT_FSIZE)
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (10, usual[1]))
            for _ in range(10):
                assert (await answered(gateway))[1] == 200
            await until(lambda: "receipts_not_kept" in gateway.log)
            resource.prlimit(pid, resource.RLIMIT_FSIZE, usual)
        assert len(kept(tmp_path, url)) == 11


async def test_strict_has_the_receipt_before_the_stream_ends(tmp_path):
    """What a client has seen the end of is in the store at that moment, also when the process dies right then."""
    async with Fake(answers) as fake:
        gateway = Gateway(tmp_path, fake.house, FLAG, audit_url="sqlite:///r.db", audit_durability="strict")
        gateway.__enter__()
        async with Wire(gateway.port) as wire:
            await wire.post(ask(stream=True))
            await wire.read(b"[DONE]")
        gateway.process.kill()
        gateway.process.wait(LONG)
        gateway.process.stderr.close()
        (one,) = kept(tmp_path, "sqlite:///r.db")
        assert one["id"] == wire.headers["x-outrider-id"]
        assert (one["decision"], one["status"]) == ("released", 200)


async def test_a_client_that_leaves_has_a_receipt_too(tmp_path):
    async def half(_seen, writer):
        await begin_stream(writer)
        await send_part(writer, event(chunk({"content": "All is "})))
        await never()

    async with Fake(half) as fake:
        with Gateway(tmp_path, fake.house, FLAG, audit_durability="strict") as gateway:
            async with Wire(gateway.port) as wire:
                await wire.post(ask(stream=True))
                await wire.read(b"All is ")
            gateway.receipts()
        (one,) = kept(tmp_path)
        assert one["decision"] == "left"


REDACT = """
policy: p
checks:
  secret: {use: regex, patterns: {code: 'code-[0-9]+'}, at: [input, output], do: redact}
  name: {use: regex, patterns: {name: 'Bob[a-z]*'}, at: [input, output], do: mask}
  bad: {use: keywords, words: [poison], at: [input, output], do: block}
"""


@pytest.mark.parametrize("mode", ["none", "hashed", "redacted", "full"])
async def test_text_is_kept_only_as_the_operator_says(tmp_path, mode):
    async def says(seen, writer):
        told = f"Dear {seen.body['messages'][0]['content'].split()[-1]}, use code-77 for Bobby."
        if not seen.body.get("stream"):
            await send_json(writer, plain_answer(told))
            return
        pieces = [chunk({"content": told[at : at + 3]}) for at in range(0, len(told), 3)]
        await stream_all(writer, *pieces, chunk(finish="stop"))

    async with Fake(says) as fake:
        with Gateway(tmp_path, fake.house, REDACT, audit_text=mode) as gateway:
            for stream in (False, True):
                for text, status in (("code-12 from Bobo", 200), ("the poison of code-13", 400)):
                    async with Wire(gateway.port) as wire:
                        await wire.post(ask(text, stream=stream))
                        await wire.read()
                        assert wire.status == status, wire.data
            assert "code-12" not in gateway.log
            assert "poison" not in gateway.log
    stored = kept(tmp_path)
    assert [(one["stream"], one["decision"]) for one in stored] == [
        (stream, decision) for stream in (False, True) for decision in ("masked", "blocked")
    ]
    for one in stored[::2]:
        if mode == "none":
            assert "texts" not in one
        elif mode == "hashed":
            assert all("text" not in text and len(text["hash"]) == 64 for text in one["texts"]["input"])
            assert one["texts"]["output"]
        elif mode == "full":
            assert one["texts"]["input"][-1]["text"] == "code-12 from Bobo"
            said = next(text["text"] for text in one["texts"]["output"] if text["place"] == "content")
            assert said.startswith("Dear <NAME_")
            assert said.endswith("use code-77 for Bobby.")
        else:
            assert one["texts"]["input"][-1]["text"].startswith("[CODE] from <NAME_")
            said = next(text["text"] for text in one["texts"]["output"] if text["place"] == "content")
            assert said.startswith("Dear <NAME_")
            assert "use [CODE] for <NAME_" in said
    for one in stored:
        told = json.dumps(one)
        if mode != "full":
            assert not any(word in told for word in ("code-12", "code-13", "code-77", "Bob", "poison"))
        elif one["decision"] == "blocked":
            assert "poison" in told


async def test_redacted_keeps_nothing_of_a_question_that_was_not_rewritten(tmp_path):
    """One text holds what is cut out, another what blocks before anything was cut."""
    messages = [{"role": "system", "content": "code-12 of Bobby"}, {"role": "user", "content": "poison"}]
    async with Fake(answers) as fake:
        with Gateway(tmp_path, fake.house, REDACT, audit_text="redacted") as gateway:
            for path, document in (
                ("/v1/chat/completions", {"model": "m", "stream": False, "messages": messages}),
                ("/v1/chat/completions", {"model": "m", "stream": True, "messages": messages}),
                ("/v1/moderations", {"model": "outrider/p", "input": ["code-13 of Bobby"]}),
            ):
                async with Wire(gateway.port) as wire:
                    await wire.post(document, path=path)
                    await wire.read()
        assert not fake.seen
    stored = kept(tmp_path)
    assert len(stored) == 3
    assert all(text["text"] == "[withheld]" for one in stored for text in one["texts"]["input"])
    assert all(one["texts"]["input"] for one in stored)


@pytest.mark.parametrize("stream", [False, True])
async def test_shadow_changes_no_byte_and_is_asked_after_the_answer(tmp_path, stream):
    """With the check that looks on, and without: the same head and the same body, but for ids, versions and times."""
    policy = """
policy: p
checks:
  words: {{use: keywords, words: [pear], at: [input, output], do: redact}}
  local: {{use: keywords, words: [apple, well], at: [input, output], do: block, mode: {0}}}
  judge: {{use: judge, model: m, question: 'Is it bad?', at: [input, output], do: block, mode: {0}}}
"""
    asked = []

    async def says(seen, writer):
        if "Is it bad?" in json.dumps(seen.body):
            await until(lambda: ended)
            asked.append(len(ended))
            await send_json(writer, plain_answer("YES"))
        elif stream:  # the head goes with the first words, before the end is known
            await begin_stream(writer)
            await send_part(writer, event(chunk({"content": "All is well, and has been for long. "})))
            await out.wait()
            await send_part(writer, event(chunk(finish="stop")) + event(b"[DONE]"))
            await end_stream(writer)
        else:
            await answers(seen, writer)

    answered, ended, receipts, out = {}, [], [], asyncio.Event()
    for mode in ("shadow", "disabled"):
        (tmp_path / mode).mkdir()
        out.clear()
        async with Fake(says) as fake:
            with Gateway(tmp_path / mode, fake.house, policy.format(mode)) as gateway:
                async with Wire(gateway.port) as wire:
                    await wire.post(ask("an apple and a pear", stream=stream))
                    if stream:
                        await wire.read(b"All is")
                        out.set()
                    await wire.read()
                    ended.append(mode)
                receipts += await asyncio.to_thread(gateway.receipts)
        told = {name: value for name, value in wire.headers.items() if name not in OWN}
        answered[mode] = (wire.status, told, wire.body)
    assert answered["shadow"] == answered["disabled"]
    assert answered["shadow"][0] == 200
    assert asked == [1, 1]  # while the judge thinks, the client has its whole answer
    looks = [look for look in receipts[0]["checks"] if look.get("shadow")]
    assert [look["verdict"] for look in looks] == ["hit"] * 4
    assert all(look["start_ms"] >= receipts[0]["first_byte_ms"] for look in looks)


OWN = {"x-outrider-id", "x-request-id", "x-outrider-policy", "server-timing", "date"}


async def test_shadow_looks_on_after_the_answer_and_the_receipt_compares(tmp_path):
    policy = """
policy: p
checks:
  strict: {use: keywords, words: [apple], at: [input, output], do: block, mode: shadow}
  words: {use: keywords, words: [pear], at: input, do: block}
"""
    async with Fake(answers) as fake:
        with Gateway(tmp_path, fake.house, policy, audit_durability="strict") as gateway:
            statuses = [(await answered(gateway, text=text))[1] for text in ("apple", "pear", "plum", "apple pear")]
            assert statuses == [200, 400, 200, 400]
            gateway.receipts(4)
        status, said, _ = outrider(tmp_path, "audit", "diff", "--json")
        told = json.loads(said)
        assert status == 1
        assert told["changed"] == 1
        one = next(one for one in told["checks"] if one["check"] == "p.strict/input")
        assert one["would"] == {"block": 1}
        assert len(one["examples"]) == 1
        status, said, _ = outrider(tmp_path, "audit", "diff")
        assert "p.strict/input: would have blocked 1 of" in said
        listed = [json.loads(line) for line in outrider(tmp_path, "audit", "list", "--json")[1].splitlines()]
        assert len(listed) == 4
        changed = [one["shadow"] for one in listed if one.get("shadow", {}).get("by")]
        assert changed == [{"action": "block", "enforced": "pass", "by": ["p.strict/input"]}]


async def test_list_filters_and_export_writes_tables(tmp_path):
    policy = "policy: p\nchecks: {words: {use: keywords, words: [apple], at: input, do: block}}\n"
    async with Fake(answers) as fake:
        with Gateway(tmp_path, fake.house, policy) as gateway:
            for text in ("apple", "pear", "=apple"):
                await answered(gateway, text=text, model="=cmd" if text == "pear" else "m")
    assert len(outrider(tmp_path, "audit", "list")[1].splitlines()) == 3
    blocked = outrider(tmp_path, "audit", "list", "--decision", "blocked")[1]
    assert blocked.count("p.words (input): hit") == 2
    for args, count in [
        (("--check", "words", "--verdict", "hit"), 2),
        (("--check", "p.words", "--verdict", "clear"), 1),
        (("--policy", "p"), 3),
        (("--policy", "other"), 0),
        (("--since", "1h"), 3),
        (("--until", "1h"), 0),
        (("--model", "m"), 2),
        (("--limit", "1"), 1),
    ]:
        assert len(outrider(tmp_path, "audit", "list", *args)[1].splitlines()) == count, args
    table = outrider(tmp_path, "audit", "export", "--format", "csv")[1].splitlines()
    assert table[0].startswith("time,id,endpoint,model")
    assert len(table) == 4
    assert ",'=cmd," in table[2]  # no formula for a spreadsheet
    status, _, errors = outrider(tmp_path, "audit", "export", "--format", "parquet", "--out", "r.parquet")
    assert (status, errors) == (0, "")
    from pyarrow import parquet

    rows = parquet.read_table(tmp_path / "r.parquet").to_pylist()
    assert [row["decision"] for row in rows] == ["blocked", "released", "blocked"]
    assert json.loads(rows[0]["receipt"])["id"] == rows[0]["id"]
    assert outrider(tmp_path, "audit", "export", "--out", "r.jsonl")[0] == 0
    listed = outrider(tmp_path, "audit", "list", "--from", "r.jsonl")[1]
    assert len(listed.splitlines()) == 3


async def test_a_broken_chain_is_told_and_the_exit_status_says_so(tmp_path):
    import sqlite3

    async with Fake(answers) as fake:
        with Gateway(tmp_path, fake.house, FLAG, audit_key="secret") as gateway:
            for _ in range(3):
                await answered(gateway)
    status, said, _ = outrider(tmp_path, "audit", "verify", audit_key="secret")
    assert status == 0
    assert "3 receipts, 1 to 3: the chain is whole." in said
    noted = said.splitlines()[-1].removeprefix("Newest: ")
    assert outrider(tmp_path, "audit", "verify", "--noted", noted, audit_key="secret")[0] == 0
    assert outrider(tmp_path, "audit", "verify")[0] == 1  # without the key
    with sqlite3.connect(tmp_path / "outrider.db") as db:
        db.execute("UPDATE receipts SET body = replace(body, 'released', 'refused!') WHERE seq = 2")
    status, said, _ = outrider(tmp_path, "audit", "verify", audit_key="secret")
    assert status == 1
    assert "receipt 2: it, or its seal, was changed" in said
    assert "BROKEN" in said


@pytest.mark.parametrize(
    ("args", "settings", "said"),
    [
        (["list"], {}, "unable to open"),
        (["list", "--from", "nothing.jsonl"], {}, "nothing.jsonl: No such file"),
        (["list", "--since", "yesterday"], {}, "'yesterday' is no moment"),
        (["verify"], {"audit_url": "none://"}, "no receipts are kept"),
        (["verify", "--noted", "x"], {}, "--noted x"),
        (["export", "--format", "parquet"], {}, "--out"),
        (["list"], {"audit_url": "sqlitee:///a"}, "OUTRIDER_AUDIT_URL"),
    ],
)
def test_what_cannot_be_used_is_told(tmp_path, args, settings, said):
    status, _, errors = outrider(tmp_path, "audit", *args, **settings)
    assert status == 2
    assert said in errors


def test_a_store_that_cannot_be_opened_is_told_at_start(tmp_path):
    (tmp_path / "file").write_text("")
    status, _, errors = outrider(
        tmp_path, "serve", upstream="http://127.0.0.1:9/v1", audit_url="sqlite:///file/r.db", admin_port=0
    )
    assert status == 2
    assert "receipts cannot be kept" in errors


async def test_sigterm_writes_what_is_left(tmp_path):
    async with Fake(answers) as fake:
        gateway = Gateway(tmp_path, fake.house, FLAG)
        gateway.__enter__()
        one = await answered(gateway)
        gateway.process.send_signal(signal.SIGTERM)
        gateway.__exit__()
        assert [receipt["id"] for receipt in kept(tmp_path)] == [one[0]]
