"""The upstreams of a house, opened together."""

from __future__ import annotations

from gateway.config.model import House
from gateway.server.scripted import ScriptedUpstream, scripted_rules
from gateway.server.upstream import HttpUpstream, Upstream, open_session


def make_upstreams(house: House) -> dict[str, Upstream]:
    """One for each name. Must be called inside a running event loop; each is closed by its `close`."""
    made: dict[str, Upstream] = {}
    for name, settings in house.upstreams.items():
        if settings.scripted is not None:
            made[name] = ScriptedUpstream(scripted_rules(settings.scripted))
        else:
            made[name] = HttpUpstream(settings, open_session())
    return made
