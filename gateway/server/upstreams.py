"""The upstreams of a house, opened together."""

from __future__ import annotations

from gateway.config.load import ConfigError
from gateway.config.model import House
from gateway.server.clients import open_client
from gateway.server.script import Rule
from gateway.server.scripted import ScriptedUpstream, scripted_rules
from gateway.server.upstream import HttpUpstream, Upstream
from gateway.yamlfile import Mistake


def scripts(house: House) -> dict[str, tuple[Rule, ...]]:
    """The rules of every scripted upstream. Raises ConfigError when one cannot act."""
    found = {}
    for name, settings in house.upstreams.items():
        if settings.scripted is not None:
            try:
                found[name] = scripted_rules(settings.scripted)
            except ValueError as error:
                raise ConfigError([Mistake(f"upstreams.{name}.scripted", 0, 0, str(error))]) from None
    return found


def make_upstreams(house: House) -> dict[str, Upstream]:
    """One for each name. Must be called inside a running event loop; each is closed by its `close`."""
    rules = scripts(house)
    return {
        name: ScriptedUpstream(rules[name]) if name in rules else HttpUpstream(settings, open_client(settings.client))
        for name, settings in house.upstreams.items()
    }
