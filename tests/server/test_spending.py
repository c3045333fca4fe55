"""What calls cost, told of looks that failed and of requests that were blocked as well."""

import pytest
from pydantic import ValidationError

from gateway.config.model import House, Price
from gateway.server.spending import Spent, dollars
from tests.end_to_end.process import Fake, Gateway, Wire, ask, plain_answer, send_json

USAGE = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}


@pytest.mark.parametrize(
    ("usage", "price", "usd"),
    [
        (USAGE, Price(input=2.0, output=10.0), 0.003),
        ({"input_tokens": 10**6, "output_tokens": 0}, Price(input=1.5), 1.5),
        ({"prompt_tokens": "many"}, Price(input=1.0), 0.0),
        (None, Price(input=1.0), None),
        (USAGE, None, None),
    ],
)
def test_dollars(usage, price, usd):
    assert dollars(usage, price) == (None if usd is None else pytest.approx(usd))


def test_what_several_answers_cost_adds_up_and_nonsense_does_not_count():
    spent = Spent()
    assert (spent.tokens, spent.usd) == ({}, None)
    spent.add(USAGE, Price(input=1.0, output=0))
    spent.add({"prompt_tokens": 500, "completion_tokens": True, "total_tokens": -1, "x": "y"}, Price(input=1.0))
    assert spent.tokens == {"prompt_tokens": 1500, "completion_tokens": 100, "total_tokens": 1100}
    assert spent.usd == pytest.approx(0.0015)


def test_a_price_is_found_by_either_name():
    house = House.model_validate(
        {
            "upstreams": {"u": {"base_url": "http://u/v1"}},
            "models": {"small": {"upstream": "u", "model": "qwen"}},
            "prices": {"small": {"input": 1}, "gpt": {"input": 2, "output": 3}},
        }
    )
    assert house.price("qwen") == Price(input=1)
    assert house.price("gpt") == Price(input=2, output=3)
    assert house.price("other") is None
    with pytest.raises(ValidationError):
        Price(input=-1)


POLICY = """
policy: p
checks:
  judge: {use: judge, model: judge, at: input}
"""


async def test_receipts_tell_it_for_released_blocked_and_failed_looks(tmp_path):
    says = {"apples": "NO", "pears": "YES", "plums": "well..."}

    async def answers(seen, writer):
        put = str(seen.body["messages"])
        said = next((verdict for word, verdict in says.items() if word in put), "NO")
        await send_json(writer, {**plain_answer(said if seen.body["model"] == "judge" else "fine"), "usage": USAGE})

    async with Fake(answers) as fake:
        house = fake.house + "prices: {judge: {input: 1, output: 0}, m: {input: 0, output: 20}}\n"
        with Gateway(tmp_path, house, POLICY) as gateway:
            for word in says:
                async with Wire(gateway.port) as wire:
                    await wire.post(ask(word))
                    await wire.read()
            receipts = gateway.receipts(3)
    assert [receipt["decision"] for receipt in receipts] == ["released", "blocked", "blocked"]
    assert [receipt["checks"][0]["verdict"] for receipt in receipts] == ["clear", "hit", "failed"]
    for receipt in receipts:
        assert receipt["checks"][0]["usage"] == USAGE
        assert receipt["checks"][0]["usd"] == pytest.approx(0.001)
    assert receipts[0]["calls"][0]["usd"] == pytest.approx(0.002)
