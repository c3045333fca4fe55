"""New policies while the gateway serves: swapped whole, or refused with the last good ones in force."""

import asyncio
import json
import signal
import time
import urllib.request

from tests.end_to_end.process import Fake, Gateway, Wire, ask, plain_answer, send_json
from tests.patience import LONG, until

GOOD = "policy: p\nchecks: {{words: {{use: keywords, words: [{0}], at: input}}, size: {{use: length, max_characters: 1000}}}}\n"


def ready(gateway):
    return json.loads(urllib.request.urlopen(f"{gateway.url}/readyz", timeout=LONG).read())


async def said(gateway, condition):
    """What /readyz says once it says so."""
    end = time.monotonic() + LONG
    while not condition(told := await asyncio.to_thread(ready, gateway)):
        assert time.monotonic() < end, told
        await asyncio.sleep(0.05)
    return told


async def answers(seen, writer):
    await send_json(writer, plain_answer("fine"))


async def status(gateway, text):
    async with Wire(gateway.port) as wire:
        await wire.post(ask(text))
        await wire.read()
        return wire.status


async def test_a_change_takes_effect_and_a_mistake_does_not(tmp_path):
    async with Fake(answers) as fake:
        with Gateway(tmp_path, fake.house, GOOD.format("apple")) as gateway:
            policy = tmp_path / "policies" / "policy.yaml"
            first = (await asyncio.to_thread(ready, gateway))["policies"]
            assert await status(gateway, "apple") == 400
            policy.write_text(GOOD.format("pear"))
            await said(gateway, lambda told: told["policies"] != first)
            assert (await status(gateway, "apple"), await status(gateway, "pear")) == (200, 400)
            policy.write_text("policy: p\nchecks: {words: {use: keywordz}}\n")
            gateway.process.send_signal(signal.SIGHUP)
            told = await said(gateway, lambda told: "refused" in told)
            assert told["refused"][0].startswith("policy.yaml:2:")
            assert "did you mean 'keywords'" in told["refused"][0]
            assert await status(gateway, "pear") == 400
            policy.write_text(GOOD.format("plum") + "tests: [{say: plum, expect: pass}]\n")
            told = await said(gateway, lambda told: "the test fails" in told.get("refused", ["", ""])[0])
            assert (await status(gateway, "pear"), await status(gateway, "plum")) == (400, 200)
            policy.write_text(GOOD.format("plum"))
            told = await said(gateway, lambda told: "refused" not in told)
            assert await status(gateway, "plum") == 400
            assert "policies_refused" in "".join(gateway.lines)


async def test_under_load_no_request_fails_or_mixes_versions(tmp_path):
    """Every version forbids one word in both of its checks; a request that only one of them stopped saw two versions."""
    policy = "policy: p\nchecks: {{a: {{use: keywords, words: [{0}], at: input, do: flag}}, b: {{use: keywords, words: [{0}], at: input, do: flag}}}}\n"
    async with Fake(answers) as fake:
        with Gateway(tmp_path, fake.house, policy.format("word0")) as gateway:
            file = tmp_path / "policies" / "policy.yaml"
            statuses = []
            versions = {ready(gateway)["policies"][0]}
            done = asyncio.Event()

            async def load():
                while not done.is_set():
                    statuses.append(await status(gateway, " ".join(f"word{n}" for n in range(6) if n != 3)))

            async def some_more():
                """Twice the loads: at least one of these began after the call."""
                answered = len(statuses)
                await until(lambda: len(statuses) >= answered + 6)

            async def change():
                await some_more()
                for number in range(1, 6):
                    file.write_text(policy.format(f"word{number}"))
                    gateway.process.send_signal(signal.SIGHUP)
                    told = await said(gateway, lambda told: told["policies"][0] not in versions)
                    versions.add(told["policies"][0])
                    await some_more()
                done.set()

            async with asyncio.TaskGroup() as group:
                group.create_task(change())
                for _ in range(3):
                    group.create_task(load())
            receipts = await asyncio.to_thread(gateway.receipts, len(statuses))
    assert set(statuses) == {200}
    assert len(versions) == 6
    assert {receipt["policies"][0] for receipt in receipts} == versions
    for receipt in receipts:
        verdicts = {check["verdict"] for check in receipt["checks"]}
        assert len(verdicts) == 1, receipt


async def test_500_reloads_good_and_broken_in_turn(tmp_path):
    """No request fails, none mixes two versions, and every broken one is refused while the last good one serves."""
    policy = "policy: p\nchecks: {{a: {{use: keywords, words: [{0}], at: input, do: flag}}, b: {{use: keywords, words: [{0}], at: output, do: flag}}}}\n"
    broken = [
        "policy: p\nchecks: {a: {use: keywordz}}\n",
        "policy: [",
        policy.format("x") + "tests: [{say: x, expect: block}]\n",
    ]
    async with Fake(answers) as fake:
        with Gateway(tmp_path, fake.house, policy.format("word0"), audit_url="none://") as gateway:
            file = tmp_path / "policies" / "policy.yaml"
            statuses = []
            refused = 0
            done = asyncio.Event()

            async def load():
                while not done.is_set():
                    statuses.append(await status(gateway, "word0 word2 word4"))

            async def reloaded(words):
                """One more reload of this outcome is in the log."""
                before = gateway.log.count(words)
                gateway.process.send_signal(signal.SIGHUP)
                await until(lambda: gateway.log.count(words) > before)

            async def change():
                nonlocal refused
                for number in range(1, 251):
                    file.write_text(policy.format(f"word{number}"))
                    await reloaded("policies_loaded")
                    file.write_text(broken[number % 3])
                    await reloaded("policies_refused")
                    refused += 1
                done.set()

            async with asyncio.TaskGroup() as group:
                group.create_task(change())
                for _ in range(2):
                    group.create_task(load())
            receipts = await asyncio.to_thread(gateway.receipts, len(statuses))
            told = await asyncio.to_thread(ready, gateway)
    assert refused == 250
    assert "refused" in told
    assert set(statuses) == {200}
    assert len({receipt["policies"][0] for receipt in receipts}) > 20
    found = {}
    for receipt in receipts:
        (version,) = receipt["policies"]
        verdicts = tuple(check["verdict"] for check in receipt["checks"])
        assert found.setdefault(version, verdicts) == verdicts  # one version has one opinion
