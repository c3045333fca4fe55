"""Which client makes the calls: by the word of `outrider.yaml`."""

from __future__ import annotations

from gateway.config.model import ClientName
from gateway.server.calling import Client
from gateway.server.lean import LeanClient
from gateway.server.stock import StockClient


def open_client(name: ClientName) -> Client:
    """Must be called inside a running event loop; is closed by its `close`."""
    return LeanClient() if name == "lean" else StockClient()
