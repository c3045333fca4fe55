"""The process as an operator meets it: wrong use, limits, draining, what the log holds."""

import asyncio
import contextlib
import json
import signal
import socket
import subprocess
import sys

import pytest

from tests.end_to_end.process import (
    Fake,
    Gateway,
    Wire,
    ask,
    begin_stream,
    chunk,
    environment,
    event,
    free_port,
    never,
    plain_answer,
    send_json,
    send_part,
)
from tests.patience import LONG, until

SIZE = "policy: size\nchecks: {size: {use: length, at: input, max_characters: 100000}}\n"
SCRIPTED = "upstreams: {demo: {scripted: [{reply: All is well.}]}}\ndefault_upstream: demo\n"


def outrider(*words, cwd, **settings):
    env = environment(**settings)
    done = subprocess.run(
        [sys.executable, "-m", "gateway", *words],
        env=env,
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=LONG,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


def test_without_an_upstream_it_says_how(tmp_path):
    done = outrider("serve", cwd=tmp_path)
    assert done.returncode == 2
    for way in ("OPENAI_API_KEY", "OUTRIDER_UPSTREAM", "outrider.yaml", "outrider demo"):
        assert way in done.stderr


def test_a_taken_port_is_named(tmp_path):
    (tmp_path / "outrider.yaml").write_text(SCRIPTED)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = outrider("serve", cwd=tmp_path, port=port)
        demo = outrider("demo", "--once", cwd=tmp_path, port=port)
    for said in (done, demo):
        assert said.returncode == 2
        assert str(port) in said.stderr
        assert "OUTRIDER_PORT" in said.stderr


def test_a_broken_policy_refuses_the_start_with_its_place(tmp_path):
    (tmp_path / "outrider.yaml").write_text(SCRIPTED)
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "p.yaml").write_text("policy: p\nchecks:\n  a: {use: keyword, words: [x]}\n")
    for command in ("serve", "check"):
        done = outrider(command, cwd=tmp_path)
        assert done.returncode == 2
        assert "p.yaml:3:" in done.stderr
        assert "did you mean 'keywords'?" in done.stderr


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"port": "x"}, "OUTRIDER_PORT"),
        ({"drain": "5"}, "OUTRIDER_DRAIN"),
        ({"state_url": "redis://x"}, "OUTRIDER_STATE_URL: not available"),
        ({"config": "/nonexistent.yaml"}, "nonexistent.yaml"),
        ({"upstream": "ftp://x"}, "OUTRIDER_UPSTREAM"),
        ({"upstream": "http://127.0.0.1:1/v1", "policies": "/nonexistent"}, "does not exist"),
    ],
)
def test_a_bad_setting_is_named(tmp_path, settings, said):
    done = outrider("serve", cwd=tmp_path, **settings)
    assert done.returncode == 2
    assert said in done.stderr


def test_a_broken_script_is_named(tmp_path):
    (tmp_path / "outrider.yaml").write_text(SCRIPTED.replace("reply", "replly"))
    for command in ("serve", "check"):
        done = outrider(command, cwd=tmp_path)
        assert done.returncode == 2
        assert "upstreams.demo.scripted: rule 1: 'replly'" in done.stderr


def test_an_unknown_setting_is_a_warning_since_others_set_some_too(tmp_path):
    (tmp_path / "outrider.yaml").write_text(SCRIPTED)
    done = outrider("check", cwd=tmp_path, prot="1", service_host="10.0.0.1")
    assert done.returncode == 0
    assert "warning: OUTRIDER_PROT: there is no such setting, did you mean 'OUTRIDER_PORT'?" in done.stderr
    assert "OUTRIDER_SERVICE_HOST" in done.stderr


def test_check_prints_the_plan(tmp_path):
    (tmp_path / "outrider.yaml").write_text(SCRIPTED)
    done = outrider("check", cwd=tmp_path)
    assert done.returncode == 0
    assert "baseline.keys" in done.stdout
    told = json.loads(outrider("check", "--json", cwd=tmp_path).stdout)
    assert {row["out_before_block"] for row in told["checks"]} == {"-", "0"}


def test_the_demo_tours_and_ends(tmp_path):
    done = outrider("demo", "--once", cwd=tmp_path, port=free_port())
    assert done.returncode == 0, done.stderr
    for part in ("Paris", "content_filter", "hidden behind the completion", "closed"):
        assert part in done.stdout
    assert "SWORDFISH-7." not in done.stdout


BODIES = [
    (b"", 400, "invalid_json"),
    (b"{", 400, "invalid_json"),
    (b"[1]", 400, "invalid_json"),
    (b'{"model":"a","model":"b","messages":[]}', 400, "invalid_json"),
    (b'{"model":"m","messages":[{"role":"user","content":NaN}]}', 400, "invalid_json"),
    (b'{"model":"m","messages":[{"role":"user","content":"\\ud83d"}]}', 400, "invalid_json"),
    (b"\xef\xbb\xbf{}", 400, "invalid_json"),
    (b"\xff\xfe{\x00}\x00", 400, "invalid_json"),
    (b'{"a":' * 70 + b"1" + b"}" * 70, 400, "invalid_json"),
    (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, 400, "invalid_json"),
    (b"{} x", 400, "invalid_json"),
    (b'{"n":' + b"9" * 5000 + b"}", 400, "invalid_json"),
    (b"{}", 400, "invalid_value"),
    (b'{"model":"m"}', 400, "invalid_value"),
    (b'{"model":"m","messages":[]}', 400, "invalid_value"),
    (b'{"model":"m","messages":["x"]}', 400, "invalid_value"),
    (b'{"model":"m","messages":[{"role":"root","content":"x"}]}', 400, "invalid_value"),
    (b'{"model":"m","messages":[{"role":"user","content":7}]}', 400, "invalid_value"),
    (b'{"model":"m","messages":[{"role":"user","content":["x"]}]}', 400, "invalid_value"),
    (b'{"model":"m","stream":"yes","messages":[{"role":"user","content":"x"}]}', 400, "invalid_value"),
    (b'{"model":"m","n":0,"messages":[{"role":"user","content":"x"}]}', 400, "invalid_value"),
    (b'{"model":"m","Messages":[],"messages":[{"role":"user","content":"x"}]}', 400, "unknown_parameter"),
    (b'{"model":"m","messages":[{"role":"user","content":"' + b"x" * 3_000_000 + b'"}]}', 413, "request_too_large"),
]


async def test_a_bad_request_is_an_openai_error_and_never_a_500(tmp_path):
    async with Fake(None) as fake:
        with Gateway(tmp_path, fake.house, SIZE, max_body="2MiB") as gateway:
            for body, status, code in BODIES:
                async with Wire(gateway.port) as wire:
                    await wire.post(body)
                    await wire.read()
                assert (wire.status, wire.error["code"]) == (status, code), body[:80]
                assert set(wire.error) == {"message", "type", "param", "code"}
                assert wire.headers["x-request-id"].startswith("req_")
            receipts = await asyncio.to_thread(gateway.receipts, len(BODIES))
    assert {r["decision"] for r in receipts} == {"refused"}
    assert not fake.seen


HEADS = [
    (b"GET /v1/chat/completions HTTP/1.1\r\nhost: x\r\n\r\n", 405),
    (b"POST /v1/nothing HTTP/1.1\r\nhost: x\r\n\r\n", 404),
    (b"POST /v1/chat/completions/ HTTP/1.1\r\nhost: x\r\n\r\n", 400),  # served: it has no body
    (b"POST //v1/chat/completions HTTP/1.1\r\nhost: x\r\n\r\n", 400),
    (b"POST /V1/Chat/Completions HTTP/1.1\r\nhost: x\r\n\r\n", 404),
    (b"POST /v1/%63hat/completions HTTP/1.1\r\nhost: x\r\n\r\n", 404),
    (b"DELETE /v1/responses HTTP/1.1\r\nhost: x\r\n\r\n", 405),
    (b"GET /v1/responses/resp_1 HTTP/1.1\r\nhost: x\r\n\r\n", 404),
    (b"POST /v1/files HTTP/1.1\r\nhost: x\r\n\r\n", 404),
    (b"OPTIONS /v1/chat/completions HTTP/1.1\r\nhost: x\r\norigin: https://a.example\r\n\r\n", 405),
    (b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: text/plain\r\ncontent-length: 2\r\n\r\n{}", 415),
    (
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json; charset=utf-16\r\ncontent-length: 2\r\n\r\n{}",
        415,
    ),
    (b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\n\r\n{}", 415),
    (b"POST /v1/chat/completions HTTP/2.0\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}", 400),
    (
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ntransfer-encoding: gzip, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        400,
    ),
    (
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\ncontent-length: 2\r\n\r\n0\r\n\r\n",
        400,
    ),
    (b"NOT HTTP AT ALL\r\n\r\n", 400),
    (b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}", 400),
]


async def test_what_is_not_served_is_an_openai_error(tmp_path):
    secret = b"authorization: Bearer sk-client-key\r\n"
    async with Fake(None) as fake:
        with Gateway(tmp_path, fake.house, SIZE) as gateway:
            for head, status in HEADS:
                async with Wire(gateway.port) as wire:
                    await wire.send(head.replace(b"host: x\r\n", b"host: x\r\nconnection: close\r\n" + secret))
                    await wire.read()
                assert wire.status == status, head
                assert wire.error["message"]
        assert "sk-client-key" not in gateway.log
    assert not fake.seen


async def test_an_unknown_model_is_a_404(tmp_path):
    house = "upstreams: {demo: {scripted: []}}\nmodels: {small: {upstream: demo, model: qwen}}\n"
    with Gateway(tmp_path, house, SIZE) as gateway:
        async with Wire(gateway.port) as wire:
            await wire.post(ask(model="large"))
            await wire.read()
        assert (wire.status, wire.error["code"], wire.error["param"]) == (404, "model_not_found", "model")
        async with Wire(gateway.port) as wire:
            await wire.post(ask(model="small"))
            await wire.read()
        assert (wire.status, json.loads(wire.body)["model"]) == (200, "qwen")
        async with Wire(gateway.port) as wire:
            await wire.send(b"GET /v1/models HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            await wire.read()
        assert [m["id"] for m in json.loads(wire.body)["data"]] == ["small"]


async def test_no_prompt_and_no_answer_is_in_the_log(tmp_path):
    async def play(_seen, writer):
        await send_json(writer, plain_answer("ANSWERTEXT"))

    async with Fake(play) as fake:
        with Gateway(tmp_path, fake.house, SIZE, log_level="debug") as gateway:
            async with Wire(gateway.port) as wire:
                await wire.post(ask("PROMPTTEXT\n\x1b[31m", model='m\n{"event":"forged"}\x1b'))
                await wire.read()
            receipt = (await asyncio.to_thread(gateway.receipts))[0]
    assert receipt["decision"] == "released"
    for text in ("PROMPTTEXT", "ANSWERTEXT", "sk-secret-key", "\x1b"):
        assert text not in gateway.log
    assert all(json.loads(line)["event"] != "forged" for line in gateway.lines)


LARGE = [
    b'{"model":"m","messages":[{"role":"user","content":"x"}],"metadata":{%s}}'
    % b",".join(b'"k%d":1' % n for n in range(700_000)),
    b'{"model":"m","messages":[%s]}' % b",".join([b'{"role":"user","content":"x"}'] * 200_000),
    json.dumps(ask("word " * 1_900_000)).encode(),
]


async def test_a_large_body_is_refused_and_the_next_request_answered(tmp_path):
    with Gateway(tmp_path, SCRIPTED) as gateway:
        for body in LARGE:
            for asked, status in ((body, 400), (ask(), 200)):
                async with Wire(gateway.port) as wire:
                    await wire.post(asked)
                    await wire.read()
                assert wire.status == status


async def test_a_slow_head_is_cut_and_a_slow_body_is_told(tmp_path):
    with Gateway(tmp_path, SCRIPTED, SIZE, header_timeout="300ms") as gateway:
        async with Wire(gateway.port) as wire:
            with contextlib.suppress(ConnectionError):  # it may be cut before anything was sent
                await wire.send(b"POST /v1/chat/completions HTTP/1.1\r\nhost:")
                await wire.read()
            assert wire.data == b""
    with Gateway(tmp_path, SCRIPTED, SIZE, body_timeout="300ms") as gateway:
        async with Wire(gateway.port) as wire:
            await wire.send(
                b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 9\r\n\r\n{"
            )
            await wire.read(until=b"}}")
        assert wire.status == 408


async def test_expect_continue_is_answered(tmp_path):
    with Gateway(tmp_path, SCRIPTED, SIZE) as gateway:
        async with Wire(gateway.port) as wire:
            body = json.dumps(ask()).encode()
            await wire.send(
                b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\nexpect: 100-continue\r\n"
                b"content-length: %d\r\n\r\n" % len(body)
            )
            await wire.read(until=b"100 Continue\r\n\r\n")
            wire.data = b""
            await wire.send(body)
            await wire.read()
        assert wire.status == 200


async def test_sigterm_finishes_what_is_under_way_and_refuses_the_rest(tmp_path):
    go_on = asyncio.Event()

    async def play(_seen, writer):
        await begin_stream(writer)
        await send_part(writer, event(chunk({"content": "first"})))
        await go_on.wait()
        await send_part(writer, event(chunk({"content": "last"}, finish="stop")) + event(b"[DONE]"))

    async with Fake(play) as fake:
        with Gateway(tmp_path, fake.house, SIZE) as gateway:
            async with Wire(gateway.port) as wire:
                await wire.post(ask(stream=True))
                await wire.read(until=b"first")
                gateway.process.send_signal(signal.SIGTERM)
                await until(lambda: '"event":"draining"' in gateway.log)
                async with Wire(gateway.port) as late:
                    await late.post(ask())
                    await late.read()
                assert late.status == 503
                assert late.headers["retry-after"]
                async with Wire(gateway.port) as ready:
                    await ready.send(b"GET /readyz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
                    await ready.read()
                assert ready.status == 503
                go_on.set()
                await wire.read()
            assert wire.events[-1] == b"[DONE]"
            assert b"last" in wire.data
            assert await asyncio.to_thread(gateway.process.wait, LONG) == 0


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
async def test_a_stuck_upstream_does_not_keep_the_process(tmp_path, stream):
    async def play(_seen, writer):
        if stream:
            await begin_stream(writer)
            await send_part(writer, event(chunk({"content": "half"})))
        await never()

    async with Fake(play) as fake:
        with Gateway(tmp_path, fake.house, SIZE, drain="500ms") as gateway:
            async with Wire(gateway.port) as wire:
                await wire.post(ask(stream=stream))
                await until(lambda: fake.seen)
                if stream:
                    await wire.read(b"half")
                gateway.process.send_signal(signal.SIGTERM)
                await wire.read()
            assert await asyncio.to_thread(gateway.process.wait, LONG) == 0
    assert b"[DONE]" not in wire.data
    assert not wire.data.endswith(b"0\r\n\r\n"), "a cut stream must not end cleanly"
