"""Reads `outrider.yaml`, or makes a house of the environment when there is none."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from gateway import yamlfile
from gateway.config.model import KEY_LATER, MODEL_LATER, Fan, House, Key, Model, Timeouts, UpstreamSettings
from gateway.fanout import STRATEGIES
from gateway.settings import Settings
from gateway.yamlfile import FileError, Loc, Mistake, Source, did_you_mean

DEFAULT_FILE = Path("outrider.yaml")
CALIBRATION = "outrider calibration"
OPENAI = "https://api.openai.com/v1"
_VARIABLE = re.compile(r"\$\{(\w+)\}")
NOTHING_TO_SERVE = (
    "no upstream is configured. Set OPENAI_API_KEY, or OUTRIDER_UPSTREAM to the base URL of an "
    "OpenAI-compatible server, or write outrider.yaml; `outrider demo` needs none of them."
)


class ConfigError(FileError):
    """What is wrong with outrider.yaml or with the lack of it."""


def load_house(settings: Settings, environment: Mapping[str, str] | None = None) -> House:
    """The file if there is one, else the one upstream that the environment names. Raises ConfigError."""
    environment = os.environ if environment is None else environment
    path = settings.config or DEFAULT_FILE
    from_environment = _upstream_of(settings, environment)
    if settings.config is None and not path.exists():
        if from_environment is None:
            raise ConfigError([Mistake("outrider.yaml", 0, 0, NOTHING_TO_SERVE)])
        return House(upstreams={"default": from_environment}, default_upstream="default")
    house = read_house(path, environment)
    if settings.upstream and from_environment and house.default_upstream is None:
        upstreams = {**house.upstreams, "default": from_environment}
        house = house.model_copy(update={"upstreams": upstreams, "default_upstream": "default"})
    return house


def _upstream_of(settings: Settings, environment: Mapping[str, str]) -> UpstreamSettings | None:
    key = settings.upstream_api_key.get_secret_value() if settings.upstream_api_key else None
    key = key or environment.get("OPENAI_API_KEY")
    url = settings.upstream or (environment.get("OPENAI_BASE_URL") or OPENAI if key else None)
    if not url:
        return None
    try:
        return UpstreamSettings.model_validate({"base_url": url, "api_key": key})
    except ValidationError as error:
        reason = str(error.errors()[0]["msg"]).removeprefix("Value error, ")
        name = "OUTRIDER_UPSTREAM" if settings.upstream else "OPENAI_BASE_URL"
        raise ConfigError([Mistake(name, 0, 0, reason)]) from None


def read_house(path: Path, environment: Mapping[str, str] | None = None) -> House:
    """One file. Raises ConfigError with every mistake found."""
    source = yamlfile.read(path)
    if not source.mistakes:
        source.value = _filled(source.value, (), source, os.environ if environment is None else environment)
        house = _built(source)
        if house is not None and not source.mistakes:
            return house
    raise ConfigError(source.mistakes)


def _filled(value: Any, loc: Loc, source: Source, environment: Mapping[str, str]) -> Any:
    """`${NAME}` from the environment; a name that is not set is a mistake, not an empty string."""
    if isinstance(value, dict):
        return {key: _filled(item, (*loc, key), source, environment) for key, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, (*loc, i), source, environment) for i, item in enumerate(value)]
    if not isinstance(value, str):
        return value
    for name in _VARIABLE.findall(value):
        if name not in environment:
            source.wrong(loc, f"the environment variable {name} is not set")
    return _VARIABLE.sub(lambda found: environment.get(found[1], ""), value)


def _built(source: Source) -> House | None:
    value = source.value
    if not isinstance(value, dict):
        source.wrong((), "must be a mapping with 'upstreams'")
        return None
    _refuse_later(value, source)
    if source.mistakes:
        return None
    models = value.get("models")
    named = models if isinstance(models, dict) else {}
    fans = {name: one for name, one in named.items() if isinstance(one, dict) and "strategy" in one}
    plain = {name: one for name, one in named.items() if name not in fans}
    try:
        house = House.model_validate({**value, "models": plain} if named else value)
    except ValidationError as error:
        source.wrong_by(error, (), _known_keys())
        return None
    read = {name: fan for name, one in fans.items() if (fan := _fan(name, one, source)) is not None}
    house = house.model_copy(update={"fans": read})
    _check_names(house, source)
    return house


def _fan(name: str, value: dict[str, Any], source: Source) -> Fan | None:
    """A virtual model, with the file that it was calibrated by."""
    base: Loc = ("models", name)
    word = value["strategy"]
    kind = STRATEGIES.get(word) if isinstance(word, str) else None
    if kind is None:
        source.wrong((*base, "strategy"), f"there is no strategy '{word}'{did_you_mean(str(word), STRATEGIES)}")
        return None
    try:
        strategy = kind.model_validate(value)
    except ValidationError as error:
        source.wrong_by(error, base, set(kind.model_fields))
        return None
    path = getattr(strategy, "calibration", None)
    if path is None:
        return Fan(strategy=strategy)
    try:
        told = json.loads((source.path.parent / path).read_bytes())
    except (OSError, ValueError) as error:
        source.wrong((*base, "calibration"), f"cannot be read: {error}")
        return None
    if not isinstance(told, dict) or told.get("kind") != CALIBRATION:
        source.wrong((*base, "calibration"), "is no file that `outrider replay votes` wrote")
        return None
    return Fan(strategy=strategy, calibration=told)


def _known_keys() -> set[str]:
    return {name for kind in (House, UpstreamSettings, Timeouts, Model, Key) for name in kind.model_fields}


def _refuse_later(value: dict[str, Any], source: Source) -> None:
    keys = value.get("keys")
    for number, one in enumerate(keys) if isinstance(keys, list) else ():
        for key in KEY_LATER & set(one if isinstance(one, dict) else ()):
            source.wrong(("keys", number, key), f"'{key}' is not available in this version")
    models = value.get("models")
    for name, model in models.items() if isinstance(models, dict) else ():
        for key in MODEL_LATER & set(model if isinstance(model, dict) else ()):
            source.wrong(("models", name, key), f"'{key}' is not available in this version")


def _check_names(house: House, source: Source) -> None:
    known = list(house.upstreams)
    named: list[tuple[Loc, str]] = [(("models", n, "upstream"), m.upstream) for n, m in house.models.items()]
    if house.default_upstream is not None:
        named.append((("default_upstream",), house.default_upstream))
    known_models = list(house.models)
    for name, fan in house.fans.items():
        for where, model in fan.strategy.models().items():
            steps = tuple(int(step) if step.isdigit() else step for step in where.split("."))
            if model in house.fans:
                source.wrong(("models", name, *steps), f"'{model}' is a fan-out itself; they do not nest")
            elif house.route(model) is None:
                source.wrong(
                    ("models", name, *steps), f"there is no model '{model}'{did_you_mean(model, known_models)}"
                )
    _check_keys(house, source)
    for loc, name in named:
        if name not in house.upstreams:
            source.wrong(loc, f"there is no upstream '{name}'{did_you_mean(name, known)}")


def _check_keys(house: House, source: Source) -> None:
    """Two keys are told apart; a client's key of ours is no key of an upstream."""
    seen: set[str] = set()
    for number, key in enumerate(house.keys):
        for field, said in (("name", key.name), ("sha256", key.sha256)):
            if said in seen:
                source.wrong(("keys", number, field), f"there is a key with this {field} already")
            seen.add(said)
    for name, upstream in house.upstreams.items():
        if house.keys and upstream.passes_key_through:
            where = ("upstreams", name, "api_key")
            source.wrong(where, "the client's key cannot be passed through where 'keys' makes it one of this house")
