"""Every kind of store keeps receipts in the same way: sealed, in order, all or none, shared by several writers."""

import json
import sqlite3
import threading
import time

import pytest

from gateway.core.chain import Chain
from gateway.server.audit.opening import open_store
from gateway.server.audit.store import Selection, StoreError, entry
from tests.patience import LONG
from tests.servers import Postgres


def receipt(number, **more):
    at = f"2026-01-{number // 24 + 1:02}T{number % 24:02}:00:00.000Z"
    return {"time": at, "id": f"req_{number}", "endpoint": "chat", "model": "m", "decision": "released", **more}


def entries(first, last, **more):
    return [entry(receipt(number, **more)) for number in range(first, last)]


@pytest.fixture(scope="module")
def postgres():
    with Postgres() as server:
        yield server


@pytest.fixture(params=["sqlite", "jsonl", "postgresql"])
def url(request, tmp_path):
    if request.param != "postgresql":
        return f"{request.param}:///{tmp_path}/receipts.{request.param}"
    return new_database(request.getfixturevalue("postgres"))


def new_database(server, encoding="UTF8"):
    import psycopg

    name = f"d{time.monotonic_ns()}"
    with psycopg.connect(server.url, autocommit=True) as db:
        db.execute(f"CREATE DATABASE {name} ENCODING '{encoding}' TEMPLATE template0")
    return server.url.replace("/postgres", f"/{name}")


def verified(store, **more):
    start, head = store.ends()
    return Chain().verify(start, store.read(Selection()), head, **more)


def ids(store, **selection):
    return [json.loads(kept.body)["id"] for kept in store.read(Selection(**selection))]


def test_what_was_appended_is_read_in_order_and_the_chain_is_whole(url):
    store = open_store(url)
    store.append(entries(0, 3))
    store.append(entries(3, 5, decision="blocked", endpoint="responses", model="other", text="é\u0000\u2028"))
    store.close()
    store = open_store(url)
    assert ids(store) == [f"req_{n}" for n in range(5)]
    assert ids(store, newest_first=True) == [f"req_{n}" for n in reversed(range(5))]
    assert ids(store, decision="blocked") == ids(store, endpoint="responses") == ids(store, model="other")
    assert ids(store, decision="blocked") == ["req_3", "req_4"]
    assert ids(store, id="req_1") == ["req_1"]
    since, until = entry(receipt(1)).at, entry(receipt(3)).at
    assert ids(store, since=since, until=until) == ["req_1", "req_2"]
    assert json.loads(list(store.read(Selection()))[4].body)["text"] == "é\u0000\u2028"
    assert (verified(store).flaws, verified(store).count) == ([], 5)
    store.append(entries(5, 6))
    assert (verified(store).flaws, verified(store).count) == ([], 6)
    store.close()


def test_half_a_surrogate_pair_is_escaped_and_loses_nothing(url):
    store = open_store(url)
    store.append([entry(receipt(0, texts=[{"x": "a\ud800"}]))])
    assert json.loads(next(store.read(Selection())).body)["texts"] == [{"x": "a\\ud800"}]
    store.close()


def test_a_name_that_an_engine_does_not_take_stops_nobody(url):
    """Clients choose the name of a model."""
    store = open_store(url)
    for name in ("a\0b", "\ud800", "\0", "x" * 200):
        store.append([entry(receipt(0, model=name))])
    assert next(json.loads(kept.body)["model"] for kept in store.read(Selection())) == "a\0b"
    assert len(ids(store, model="a\0b")) == 1 or url.startswith("jsonl")
    assert verified(store).flaws == []
    store.close()


def test_several_writers_make_one_chain(url):
    open_store(url).close()

    def write(first):
        store = open_store(url)
        for number in range(first, first + 10):
            store.append(entries(number, number + 1))
        store.close()

    threads = [threading.Thread(target=write, args=(100 * n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG)
    store = open_store(url, read_only=True)
    assert sorted(ids(store)) == sorted(f"req_{100 * n + m}" for n in range(4) for m in range(10))
    assert (verified(store).flaws, verified(store).count) == ([], 40)
    store.close()


def test_a_group_that_cannot_be_kept_leaves_nothing(url, monkeypatch):
    store = open_store(url)
    store.append(entries(0, 2))
    broken = entries(2, 4)
    broken[1] = broken[1]._replace(body=None)
    with pytest.raises(Exception):  # noqa: B017 -- whatever went wrong
        store.append(broken)
    store.append(entries(4, 5))
    assert ids(store) == ["req_0", "req_1", "req_4"]
    assert verified(store).flaws == []
    store.close()


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_what_is_forgotten_leaves_a_chain_that_is_whole(kind, request, tmp_path, monkeypatch):
    monkeypatch.setattr("gateway.server.audit.sql.PRUNED_AT_ONCE", 3)
    url = f"sqlite:///{tmp_path}/a.db" if kind == "sqlite" else request.getfixturevalue("postgres").url
    store = open_store(url)
    store.append(entries(0, 20))
    assert store.prune(entry(receipt(8)).at) == 8
    assert ids(store) == [f"req_{n}" for n in range(8, 20)]
    assert verified(store).flaws == []
    assert store.prune(entry(receipt(8)).at) == 0
    assert store.prune(entry(receipt(99)).at) == 12
    store.append(entries(20, 21))
    assert (ids(store), verified(store).flaws) == (["req_20"], [])
    store.close()


def test_changes_by_hand_show_in_sql(tmp_path):
    store = open_store(f"sqlite:///{tmp_path}/a.db")
    store.append(entries(0, 5))
    for change, flawed in [
        ("UPDATE receipts SET body = replace(body, 'released', 'blocked') WHERE seq = 2", 2),
        ("DELETE FROM receipts WHERE seq = 5", 5),
        ("DELETE FROM receipts WHERE seq = 3", 4),
        ("DELETE FROM receipts WHERE seq = 1", 2),
    ]:
        with sqlite3.connect(tmp_path / "a.db") as db:
            db.execute("CREATE TABLE kept AS SELECT * FROM receipts")
            db.execute(change)
        assert verified(store).flaws[0][0] == flawed, change
        with sqlite3.connect(tmp_path / "a.db") as db:
            db.execute("DELETE FROM receipts")
            db.execute("INSERT INTO receipts SELECT * FROM kept")
            db.execute("DROP TABLE kept")
        assert verified(store).flaws == []
    store.close()


def test_a_new_file_that_another_process_is_just_writing_is_waited_for(tmp_path):
    """As when several workers start at once."""
    other = sqlite3.connect(tmp_path / "a.db", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    soon = threading.Timer(0.2, other.execute, ("COMMIT",))
    soon.start()
    store = open_store(f"sqlite:///{tmp_path}/a.db")
    soon.join()
    store.append(entries(0, 3))
    assert len(ids(store)) == 3
    store.close()
    other.close()


def test_lines_rotate_and_the_chain_goes_through_the_files(tmp_path):
    store = open_store(f"jsonl:///{tmp_path}/a.jsonl", rotate=600)
    for number in range(12):
        store.append(entries(number, number + 1))
    files = sorted(tmp_path.glob("*.jsonl"))
    assert len(files) > 3
    assert (ids(store), verified(store).flaws) == ([f"req_{n}" for n in range(12)], [])
    lines = files[0].read_bytes()
    files[0].write_bytes(lines.replace(b"released", b"blocked!"))
    assert verified(store).flaws
    files[0].write_bytes(lines)
    files[1].unlink()
    assert "missing" in verified(store).flaws[0][1]


def test_old_files_of_lines_are_forgotten_whole(tmp_path):
    import os

    store = open_store(f"jsonl:///{tmp_path}/a.jsonl", rotate=1)
    for number in range(3):
        store.append(entries(number, number + 1))
    oldest = min(tmp_path.glob("a-*.jsonl"))
    os.utime(oldest, (1, 1))
    assert store.prune(time.time() - 60) == 1
    assert (ids(store), verified(store).flaws) == (["req_1", "req_2"], [])


@pytest.mark.parametrize("cut", range(1, 40, 3))
def test_a_line_that_a_crash_cut_short_is_cut_off(tmp_path, cut):
    file = tmp_path / "a.jsonl"
    store = open_store(f"jsonl:///{file}")
    store.append(entries(0, 2))
    file.write_bytes(file.read_bytes()[:-cut])
    assert ids(open_store(f"jsonl:///{file}", read_only=True)) == ["req_0"]
    store = open_store(f"jsonl:///{file}")
    store.append(entries(2, 3))
    assert (ids(store), verified(store).flaws) == (["req_0", "req_2"], [])


def test_a_line_that_is_no_receipt_is_told(tmp_path):
    file = tmp_path / "a.jsonl"
    store = open_store(f"jsonl:///{file}")
    store.append(entries(0, 1))
    file.write_bytes(b"nonsense\n" + file.read_bytes())
    with pytest.raises(StoreError, match="no receipt"):
        ids(store)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("sqlite:/a.db", "write sqlite:///FILE"),
        ("sqlit:///a.db", "did you mean 'sqlite'"),
        ("sqlite:///", "write sqlite:///FILE"),
        ("jsonl:////nowhere/really/a.jsonl", "nowhere"),
    ],
)
def test_an_address_that_cannot_be_used_is_told(url, said):
    with pytest.raises(StoreError, match=said.replace("(", "\\(")):
        open_store(url, read_only=True)


@pytest.mark.parametrize("kind", ["sqlite", "jsonl"])
def test_not_everybody_on_the_machine_reads_what_may_hold_text(tmp_path, kind):
    store = open_store(f"{kind}:///{tmp_path}/kept/a.{kind}")
    store.append(entries(0, 3))
    files = list((tmp_path / "kept").iterdir())
    assert files
    assert not [file for file in files if file.stat().st_mode & 0o007]
    store.close()


def test_a_store_of_a_newer_version_is_not_touched(tmp_path):
    open_store(f"sqlite:///{tmp_path}/a.db").close()
    with sqlite3.connect(tmp_path / "a.db") as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(StoreError, match="newer version"):
        open_store(f"sqlite:///{tmp_path}/a.db")


def test_no_password_is_told_of_a_database_that_is_not_there():
    with pytest.raises(StoreError) as told:
        open_store("postgresql://me:very-secret@127.0.0.1:9/x")
    assert "very-secret" not in str(told.value)
    assert "127.0.0.1" in str(told.value)


def test_a_database_that_knows_no_encoding_keeps_every_text(postgres):
    """As where it was made under the locale C."""
    store = open_store(new_database(postgres, "SQL_ASCII"))
    store.append(entries(0, 2, model="日本", text="é"))
    assert ids(store, model="日本") == ["req_0", "req_1"]
    assert verified(store).flaws == []
    store.close()


def test_a_database_that_cannot_keep_every_text_is_told(postgres):
    with pytest.raises(StoreError, match="its encoding is LATIN1"):
        open_store(new_database(postgres, "LATIN1"))


def test_a_connection_that_was_not_set_up_is_not_used(postgres):
    """It is made anew until its setup succeeds, and none is left open meanwhile."""
    import psycopg

    url = new_database(postgres)
    store = open_store(url)
    store.append(entries(0, 1))
    ours = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    with psycopg.connect(url, autocommit=True) as other:
        other.execute("ALTER TABLE schema_version RENAME COLUMN version TO hidden")
        other.execute(f"SELECT pg_terminate_backend(pid) {ours}")
        with pytest.raises(StoreError):
            store.append(entries(1, 2))
        for _ in range(2):
            with pytest.raises(StoreError, match="version"):
                store.append(entries(1, 2))
        end = time.monotonic() + LONG
        while other.execute(f"SELECT count(*) {ours}").fetchone() != (0,):  # the server takes its time
            assert time.monotonic() < end
            time.sleep(0.01)
        other.execute("ALTER TABLE schema_version RENAME COLUMN hidden TO version")
    store.append(entries(1, 2))
    assert (ids(store), verified(store).flaws) == (["req_0", "req_1"], [])
    store.close()
