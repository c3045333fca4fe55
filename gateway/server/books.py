"""The receipts of a gateway: opened for each request, priced, counted, and kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from gateway.config.model import House
from gateway.core.ceiling import Account
from gateway.core.exchange import NO_ROOM
from gateway.core.terms import Decision
from gateway.server.audit.keeper import Keeper
from gateway.server.metrics import Metrics
from gateway.server.record import Receipt
from gateway.server.spending import dollars
from gateway.server.texts import Texts
from gateway.settings import Settings


class Books:
    """`told` gets every receipt when it is over; `keeper`, where there is one, gets it into its store."""

    def __init__(
        self,
        settings: Settings,
        house: House,
        *,
        told: Callable[[Receipt], None],
        metrics: Metrics,
        keeper: Keeper | None,
    ) -> None:
        key = settings.audit_key
        self._text = settings.audit_text
        self._key = key.get_secret_value().encode() if key else b""
        self._house = house
        self._told = told
        self._metrics = metrics
        self._keeper = keeper
        self.strict = keeper is not None and keeper.strict  # an answer waits for its receipt

    @property
    def refuse(self) -> bool:
        """Whether nobody is answered now, because no receipt could be kept."""
        return self._keeper is not None and self._keeper.refuses

    def open(self, held: Account, cors: Mapping[str, str]) -> Receipt:
        """A receipt for a request that is read."""
        return Receipt(
            keep=self._kept,
            seal=self._seal if self.strict else None,
            cors=cors,
            held=held,
            texts=Texts(self._text, self._key) if self._text != "none" and self._keeper is not None else None,
        )

    def open_unread(self) -> Receipt:
        """A receipt for a request that is sent away before anybody reads it."""
        return Receipt(keep=self._kept)

    async def _seal(self, receipt: Receipt) -> bool:
        assert self._keeper is not None
        self._price(receipt)
        receipt.told = receipt.gist
        return await self._keeper.kept(receipt.kept_lines(receipt.lines()))

    def _kept(self, receipt: Receipt) -> None:
        if receipt.why == NO_ROOM.code and receipt.decision == Decision.FAILED:
            self._metrics.shed.labels("answer").inc()
        self._price(receipt)
        self._metrics.count(receipt)
        self._told(receipt)
        if self._keeper is not None and not receipt.kept:
            self._keeper.keep(receipt.kept_lines(receipt.lines()))

    def _price(self, receipt: Receipt) -> None:
        for call in receipt.calls:
            call.usd = dollars(call.usage, self._house.price(call.model)) if self._house.prices else None
