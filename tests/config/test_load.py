"""The house: outrider.yaml, the environment, and mistakes with their places."""

import pytest

from gateway.config.load import ConfigError, load_house, read_house
from gateway.settings import SettingsError, load_settings

GOOD = """
upstreams:
  openai: {base_url: "https://api.openai.com/v1/", api_key: "${KEY}"}
  vllm: {base_url: "http://127.0.0.1:8000/v1", timeout: {connect: 2s, total: 10m}, retries: 2}
  app: {base_url: "https://api.openai.com/v1", api_key: passthrough}
default_upstream: openai
models: {small: {upstream: vllm, model: qwen}}
"""


def write(tmp_path, text):
    path = tmp_path / "outrider.yaml"
    path.write_text(text)
    return path


def test_a_house_and_its_routes(tmp_path):
    house = read_house(write(tmp_path, GOOD), {"KEY": "sk-1"})
    assert house.route("small") == ("vllm", "qwen")
    assert house.route("gpt-5") == ("openai", "gpt-5")
    assert house.upstreams["openai"].base_url == "https://api.openai.com/v1"
    assert house.upstreams["openai"].api_key.get_secret_value() == "sk-1"
    assert "sk-1" not in repr(house)
    assert (house.upstreams["vllm"].timeout.connect, house.upstreams["vllm"].timeout.total) == (2.0, 600.0)
    assert house.upstreams["app"].passes_key_through
    assert not house.upstreams["openai"].passes_key_through


def test_without_a_default_unknown_models_have_no_route(tmp_path):
    house = read_house(write(tmp_path, GOOD.replace("default_upstream: openai", "")), {"KEY": "x"})
    assert house.route("gpt-5") is None


HASH, OTHER = "0" * 64, "1" * 64
MISTAKES = [
    (GOOD, ":3:", "environment variable KEY is not set"),
    ("upstreams: {}", ":1:", "upstreams"),
    ("upstreams: {a: {}}", ":1:13", "either 'base_url' or 'scripted'"),
    ("upstreams: {a: {base_url: x}}", ":1:17", "http or https"),
    ("upstreams: {a: {base_url: 'http://u:p@h/'}}", ":1:17", "user"),
    ("upstreams: {a: {bas_url: 'http://h'}}", ":1:17", "did you mean 'base_url'?"),
    ("upstreams: {a: {base_url: 'http://h', retries: 9}}", ":1:39", "retries"),
    ("upstreams: {a: {base_url: 'http://h', timeout: {total: 3}}}", ":1:49", "not a duration"),
    ("upstreams: {a: {base_url: 'http://h'}}\ndefault_upstream: b", ":2:1", "no upstream 'b'"),
    (
        "upstreams: {vllm: {base_url: 'http://h'}}\nmodels: {m: {upstream: vlm, model: x}}",
        ":2:14",
        "did you mean 'vllm'?",
    ),
    ("upstreams: {a: {base_url: 'http://h'}}\nkeys: [{name: n, sha256: x}]", ":2:18", "sha256"),
    (
        f"upstreams: {{a: {{base_url: 'http://h'}}}}\nkeys: [{{name: n, sha256: '{HASH}', limits: {{}}}}]",
        ":2",
        "'limits' is not",
    ),
    (
        f"upstreams: {{a: {{base_url: 'http://h'}}}}\nkeys: [{{name: n, sha256: '{HASH}', modles: [x]}}]",
        ":2",
        "did you mean 'models'",
    ),
    (
        f"upstreams: {{a: {{base_url: 'http://h'}}}}\nkeys:\n  - {{name: n, sha256: '{HASH}'}}\n  - {{name: n, sha256: '{OTHER}'}}",
        ":4:",
        "with this name already",
    ),
    (
        f"upstreams: {{a: {{base_url: 'http://h'}}}}\nkeys:\n  - {{name: n, sha256: '{HASH}'}}\n  - {{name: o, sha256: '{HASH}'}}",
        ":4:",
        "with this sha256 already",
    ),
    (
        f"upstreams: {{a: {{base_url: 'http://h', api_key: passthrough}}}}\nkeys: [{{name: n, sha256: '{HASH}'}}]",
        ":1:",
        "cannot be passed through",
    ),
    (
        "upstreams: {a: {base_url: 'http://h'}}\nmodels: {m: {upstream: a, model: x, fallbacks: [y]}}",
        ":2:37",
        "'fallbacks' is not available",
    ),
    ("upstreams: {a: {base_url: 'http://h'}}\nmodels: {m: {strategy: vote}}", ":2:10", "'members' is missing"),
    (
        "upstreams: {a: {base_url: 'http://h'}}\nmodels: {m: {strategy: votes}}",
        ":2:14",
        "no strategy 'votes', did you mean 'vote'?",
    ),
    (
        "upstreams: {a: {base_url: 'http://h'}}\nmodels: {s: {upstream: a, model: x}, v: {strategy: vote, members: [{model: z}]}}",
        ":2:69",
        "there is no model 'z'",
    ),
    (
        "upstreams: {a: {base_url: 'http://h'}}\ndefault_upstream: a\nmodels: {v: {strategy: vote, members: [{model: w}]}, w: {strategy: vote, members: [{model: x}]}}",
        ":3:41",
        "they do not nest",
    ),
    (
        "upstreams: {a: {base_url: 'http://h'}}\ndefault_upstream: a\nmodels: {v: {strategy: vote, members: [{model: w}], quorum: 2}}",
        ":3:10",
        "there are only 1 answers",
    ),
    (
        "upstreams: {a: {base_url: 'http://h'}}\ndefault_upstream: a\nmodels: {v: {strategy: vote, members: [{model: w}], quorun: 2}}",
        ":3:53",
        "unknown key 'quorun', did you mean 'quorum'?",
    ),
    ("", ":1:1", "must be a mapping"),
]


@pytest.mark.parametrize(("text", "place", "said"), MISTAKES, ids=range(len(MISTAKES)))
def test_every_mistake_has_its_place(tmp_path, text, place, said):
    with pytest.raises(ConfigError) as caught:
        read_house(write(tmp_path, text), {})
    assert f"outrider.yaml{place}" in str(caught.value)
    assert said in str(caught.value)


@pytest.fixture
def settings(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    def made(**fields):
        for name, value in fields.items():
            monkeypatch.setenv(f"OUTRIDER_{name.upper()}", str(value))
        return load_settings()

    return made


def test_zero_configuration(settings):
    house = load_house(settings(), {"OPENAI_API_KEY": "sk-2"})
    assert house.upstreams["default"].base_url == "https://api.openai.com/v1"
    assert house.upstreams["default"].api_key.get_secret_value() == "sk-2"
    assert (
        load_house(settings(), {"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": "http://h/v1"}).upstreams["default"].base_url
        == "http://h/v1"
    )


def test_an_upstream_alone_needs_no_key(settings):
    house = load_house(settings(upstream="http://127.0.0.1:8000/v1"), {})
    assert house.route("any") == ("default", "any")
    assert house.upstreams["default"].api_key is None


def test_nothing_at_all_says_how(settings):
    with pytest.raises(ConfigError, match="outrider demo"):
        load_house(settings(), {})


def test_the_environment_adds_a_default_to_a_file_without_one(settings, tmp_path):
    write(tmp_path, "upstreams: {a: {base_url: 'http://a/v1'}}\nmodels: {m: {upstream: a, model: x}}")
    house = load_house(settings(upstream="http://b/v1"), {})
    assert house.route("m").upstream == "a"
    assert house.upstreams[house.route("other").upstream].base_url == "http://b/v1"


def test_an_empty_variable_says_nothing_and_a_wrong_one_is_named(settings):
    assert settings(port="", drain="2s", max_body="1kb").drain == 2.0
    assert settings().port == 8080
    with pytest.raises(SettingsError, match=r"^OUTRIDER_PORT: "):
        settings(port="eighty")
