"""The admin listener of the real process: who may read, what is counted, and what is never said there."""

import asyncio
import operator
import re
import socket
import time
import urllib.error
import urllib.request

import pytest

from gateway.core.breaker import PAUSE
from tests.end_to_end.process import Fake, Gateway, Wire, ask, free_port, plain_answer, send_json
from tests.end_to_end.test_process import outrider
from tests.patience import LONG

POLICY = """
policy: p
checks:
  words: {use: keywords, words: [swordfish], at: input}
  open:  {use: judge, model: judge, at: input, on_error: allow, timeout: 30s}
"""


async def answers(seen, writer):
    """The judge never says anything that is a verdict."""
    await send_json(writer, plain_answer("well"), "503 No" if seen.body["model"] == "judge" else "200 OK")


def read(url, token=None, method="GET"):
    headers = {} if token is None else {"authorization": f"Bearer {token}"}
    try:
        with urllib.request.urlopen(
            urllib.request.Request(url, headers=headers, method=method), timeout=LONG
        ) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def told(text, line):
    found = re.search(rf"^{re.escape(line)} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else None


async def metrics(port, token=None):
    return await asyncio.to_thread(read, f"http://127.0.0.1:{port}/metrics", token)


async def settled(port, line, value, compare=operator.eq):
    """Once this is told; what is counted when an answer has ended may be counted a moment later."""
    end = time.monotonic() + LONG
    while True:
        text = (await metrics(port))[1]
        found = told(text, line)
        if found is not None and compare(found, value):
            return text
        assert time.monotonic() < end, text
        await asyncio.sleep(0.02)


async def say(gateway, text):
    async with Wire(gateway.port) as wire:
        await wire.post(ask(text))
        await wire.read()
        return wire.status


async def test_requests_checks_calls_breaker_and_lag_are_counted(tmp_path):
    admin = free_port()
    async with Fake(answers) as fake:
        with Gateway(tmp_path, fake.house, POLICY, admin_port=admin) as gateway:
            assert [await say(gateway, f"hello {n}") for n in range(3)] == [200] * 3
            assert await say(gateway, "swordfish") == 400
            await settled(admin, "outrider_loop_lag_seconds_count", 2, operator.ge)
            status, text = await metrics(admin)
            on_the_data_port = await asyncio.to_thread(read, f"{gateway.url}/metrics")
    assert status == 200
    assert told(text, 'outrider_requests_total{decision="released",endpoint="chat"}') == 3
    assert told(text, 'outrider_requests_total{decision="blocked",endpoint="chat"}') == 1
    assert told(text, 'outrider_checks_total{check="p.words",side="input",verdict="hit"}') == 1
    assert told(text, 'outrider_failed_open_total{check="p.open"}') == 3
    assert told(text, 'outrider_upstream_calls_total{status="200",upstream="up"}') == 3
    assert told(text, 'outrider_breaker_state{target="up/judge"}') in {0, 1, 2}
    assert told(text, "outrider_first_byte_seconds_count") == 4
    assert told(text, "outrider_in_flight") == 0
    assert "swordfish" not in text
    assert "hello" not in text
    assert on_the_data_port[0] == 404


async def test_a_breaker_that_opens_and_closes_is_seen(tmp_path):
    """Five failures in a row open it, nothing is asked then, and after its pause one call that succeeds closes it."""
    admin, ill, asked = free_port(), [True], []

    async def judging(seen, writer):
        if seen.body["model"] != "judge":
            return await send_json(writer, plain_answer())
        asked.append(seen)
        return await send_json(writer, plain_answer("NO"), "503 No" if ill else "200 OK")

    async def state():
        return told((await metrics(admin))[1], 'outrider_breaker_state{target="up/judge"}')

    async with Fake(judging) as fake:
        with Gateway(tmp_path, fake.house, POLICY, admin_port=admin) as gateway:
            began = time.monotonic()
            for number in range(6):
                assert await say(gateway, f"once {number}") == 200
            assert await state() == 2
            count = len(asked)
            assert await say(gateway, "while it is open") == 200
            assert len(asked) == count or time.monotonic() - began > PAUSE
            ill.clear()
            count = len(asked)
            end = time.monotonic() + PAUSE + LONG
            while await state() != 0:
                assert time.monotonic() < end
                assert await say(gateway, f"again at {time.monotonic()}") == 200
                await asyncio.sleep(0.3)
            assert len(asked) == count + 1  # the probe
            receipts = gateway.receipts(8)
    verdicts = [check["verdict"] for one in receipts for check in one["checks"] if check["check"] == "p.open"]
    assert verdicts[:7] == ["failed"] * 7
    assert verdicts[-1] == "clear"


async def test_a_refused_reload_is_seen(tmp_path):
    admin = free_port()
    async with Fake(answers) as fake:
        with Gateway(tmp_path, fake.house, POLICY, admin_port=admin):
            (tmp_path / "policies" / "policy.yaml").write_text("policy: p\nchecks: {words: {use: keywordz}}\n")
            text = await settled(admin, "outrider_policies_refused", 1)
    assert told(text, 'outrider_policy_reloads_total{outcome="refused"}') == 1


async def test_the_token_opens_and_nothing_else_does(tmp_path):
    admin = free_port()
    async with Fake(answers) as fake:
        with Gateway(tmp_path, fake.house, POLICY, admin_port=admin, admin_token="s3cret-token"):
            url = f"http://127.0.0.1:{admin}"
            for wrong in (None, "", "s3cret", "s3cret-token2", "S3CRET-TOKEN"):
                status, said = await asyncio.to_thread(read, f"{url}/metrics", wrong)
                assert (status, "invalid_api_key" in said) == (401, True)
            assert (await metrics(admin, "s3cret-token"))[0] == 200
            assert (await asyncio.to_thread(read, f"{url}/healthz"))[0] == 200
            assert (await asyncio.to_thread(read, f"{url}/readyz"))[0] == 200
            assert (await asyncio.to_thread(read, f"{url}/v1/models", "s3cret-token"))[0] == 404
            assert (await asyncio.to_thread(read, f"{url}/metrics", "s3cret-token", "DELETE"))[0] == 405


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"admin_host": "0.0.0.0"}, "OUTRIDER_ADMIN_TOKEN: needed"),
        ({"port": 8099, "admin_port": 8099}, "OUTRIDER_ADMIN_PORT: is the port of the data listener"),
        ({"admin_port": "x"}, "OUTRIDER_ADMIN_PORT"),
    ],
)
def test_what_would_open_it_to_others_or_cannot_be_is_refused_at_start(tmp_path, settings, words):
    done = outrider("serve", cwd=tmp_path, upstream="http://127.0.0.1:9/v1", **settings)
    assert done.returncode == 2
    assert words in done.stderr


def test_a_taken_admin_port_is_named(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = outrider("serve", cwd=tmp_path, upstream="http://127.0.0.1:9/v1", port=free_port(), admin_port=port)
    assert done.returncode == 2
    assert f"cannot listen on 127.0.0.1:{port}" in done.stderr
    assert "OUTRIDER_ADMIN_PORT" in done.stderr
