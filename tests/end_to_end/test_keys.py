"""Clients' keys: who may ask which model, and which policies bind them."""

import hashlib
import json

import pytest

from tests.end_to_end.process import Fake, Gateway, Wire, ask, outrider, plain_answer, send_json

POLICIES = """
policy: {name}
for: {{keys: [{keys}]}}
checks: {{words: {{use: keywords, words: [{word}], at: input, do: block}}}}
"""
HASHES = {name: hashlib.sha256(f"key-{name}".encode()).hexdigest() for name in ("web", "batch")}
KEYS = f"keys:\n  - {{name: web, sha256: {HASHES['web']}, models: [small, 'gpt-*']}}\n  - {{name: batch, sha256: {HASHES['batch']}}}\n"


async def answers(seen, writer):
    if seen.head.startswith(b"GET"):
        models = [{"id": name, "object": "model", "created": 1, "owned_by": "x"} for name in ("gpt-1", "other")]
        await send_json(writer, {"object": "list", "data": models})
    else:
        await send_json(writer, plain_answer())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("house")
    (folder / "policies").mkdir()
    for name, keys, word in (("one", "web", "apple"), ("two", "'b*'", "pear"), ("all", "'*'", "plum")):
        (folder / "policies" / f"{name}.yaml").write_text(POLICIES.format(name=name, keys=keys, word=word))
    return folder


@pytest.fixture
async def house(folder, gateways):
    async with Fake(answers) as fake:
        models = "models:\n  small: {upstream: up, model: m-1}\n  large: {upstream: up, model: m-2}\n"
        (folder / "outrider.yaml").write_text(fake.house + models + KEYS)
        with gateways(fake.house + models + KEYS, policies=folder / "policies") as gateway:
            yield gateway, fake, folder


async def asked(gateway, key, text="hello", model="small", path="/v1/chat/completions"):
    async with Wire(gateway.port) as wire:
        head = b"" if key is None else f"authorization: Bearer {key}\r\n".encode()
        await wire.post(ask(text, model=model), headers=head, path=path)
        await wire.read()
        return wire


async def test_without_a_key_of_the_house_nothing_is_answered(house):
    gateway, fake, _ = house
    for key in (None, "", "key-other", HASHES["web"], "key-web key-web"):
        for path in (
            "/v1/chat/completions",
            "/v1/responses",
            "/v1/embeddings",
            "/nothing",
            "/beta/litellm_basic_guardrail_api",
        ):
            wire = await asked(gateway, key, path=path)
            assert (wire.status, wire.error["code"]) == (401, "invalid_api_key"), (key, path)
    assert not fake.seen
    assert "key-other" not in gateway.log
    async with Wire(gateway.port) as wire:
        await wire.send(b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        await wire.read()
    assert wire.status == 200


async def test_a_key_is_for_its_models(house):
    gateway, fake, _ = house
    cases = [("web", "small", 200), ("web", "gpt-9", 200), ("web", "large", 404), ("batch", "large", 200)]
    for name, model, status in cases:
        assert (await asked(gateway, f"key-{name}", model=model)).status == status, (name, model)
    not_there = (await asked(gateway, "key-web", model="large")).error
    assert not_there["code"] == "model_not_found"
    assert b"key-web" not in b"".join(seen.head for seen in fake.seen)  # the upstream gets its own
    for name, listed in (("web", {"small", "gpt-1"}), ("batch", {"small", "large", "gpt-1", "other"})):
        async with Wire(gateway.port) as wire:
            head = (
                f"GET /v1/models HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer key-{name}\r\n\r\n"
            )
            await wire.send(head.encode())
            await wire.read()
        assert {one["id"] for one in json.loads(wire.body)["data"]} == listed


async def test_policies_bind_the_keys_that_they_are_for(house):
    gateway, _, folder = house
    for text, blocked in (("apple", {"web"}), ("pear", {"batch"}), ("plum", {"web", "batch"})):
        for name in ("web", "batch"):
            wire = await asked(gateway, f"key-{name}", text)
            assert wire.status == (400 if name in blocked else 200), (text, name)
    receipts = gateway.receipts(6)
    assert {(r["key"], r["decision"]) for r in receipts} == {
        (key, decision) for key in ("web", "batch") for decision in ("released", "blocked")
    }
    for key, bound in (("web", {"one", "all"}), ("batch", {"two", "all"})):
        _, told, _ = outrider(folder, "check", "--model", "small", "--key", key, "--json", policies=folder / "policies")
        assert {version.partition("@")[0] for version in json.loads(told)["policies"]} == bound
    status, _, told = outrider(folder, "check", "--key", "wob", policies=folder / "policies")
    assert (status, told) == (2, "outrider.yaml has no key 'wob', did you mean 'web'?\n")


async def test_a_key_that_was_made_can_be_used(tmp_path):
    status, key, told = outrider(tmp_path, "keys", "mobile", "--models", "small,gpt-*")
    assert status == 0
    key = key.strip()
    line = next(line for line in told.splitlines() if line.startswith("  - "))
    assert key not in told
    async with Fake(answers) as fake:
        policy = POLICIES.format(name="p", keys="mobile", word="apple")
        house = f"{fake.house}models: {{small: {{upstream: up, model: m}}}}\nkeys:\n{line}\n"
        with Gateway(tmp_path, house, policy) as gateway:
            assert (await asked(gateway, key)).status == 200
            assert (await asked(gateway, key + "x")).status == 401
            assert (await asked(gateway, key, model="large")).status == 404
    assert outrider(tmp_path, "keys", "bad name")[0] == 2
