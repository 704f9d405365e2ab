"""Who pays for what the device does: tenants, and within a tenant its adapters."""

from .prices import Prices
from .residency import Residency
from .sequence import Sequence
from .shares import Share


class Ledger:
    """Charges what sequences take to the shares of their tenants and adapters.

    A load on demand is charged to the sequence that asked for it first; a prefetch to nobody.
    """

    def __init__(self, prices: Prices, residency: Residency) -> None:
        self._prices = prices
        self._residency = residency
        self._shares = Share()
        self._orderers: dict[str, Sequence] = {}

    def taken_us(self, tenant: str, digest: str | None) -> tuple[float, float]:
        """What a tenant has taken, and what it has for one adapter or for the base."""
        share = self._shares.part(tenant)
        return share.taken_us, share.part(digest).taken_us

    def enter(self, sequence: Sequence) -> None:
        """The sequence waits."""
        self._shares.enter(sequence.tenant, sequence.digest)

    def leave(self, sequence: Sequence) -> None:
        """The sequence waits no more."""
        self._shares.leave(sequence.tenant, sequence.digest)

    def order_load(self, sequence: Sequence) -> None:
        """Its adapter is not in the arena; it pays for the load unless another does."""
        assert sequence.digest is not None
        self._orderers.setdefault(sequence.digest, sequence)

    def cancel_load(self, sequence: Sequence) -> None:
        """The sequence ends before it was admitted; whoever shares its load gets it free."""
        if sequence.digest is not None and self._orderers.get(sequence.digest) is sequence:
            del self._orderers[sequence.digest]

    def admit(self, sequence: Sequence) -> None:
        """Charge what was cached, and the load that has ended, if there was one."""
        if (digest := sequence.digest) is not None and digest in self._orderers:
            load_us = self._residency.size_of(digest) * self._prices.load_us
            self.charge(self._orderers.pop(digest), load_us)
        if sequence.num_computed > sequence.num_charged:
            num = sequence.num_computed - sequence.num_charged
            self.charge(sequence, num * self._prices.cached_us)
            sequence.num_charged = sequence.num_computed

    def serve(self, sequence: Sequence, stop: int) -> None:
        """Charge the tokens up to `stop`, once for as long as the sequence holds their blocks.

        What it computes again after preemption it takes again: were that free, one that loses its
        blocks to another each time could go before that other for ever.
        """
        start, num_prompt = sequence.num_charged, len(sequence.request.tokens)
        if stop <= start:
            return
        prefilled = max(0, min(stop, num_prompt) - start)
        us = self._prices.service_us(
            prefilled, stop - start - prefilled, context=stop, elements=self._elements(sequence)
        )
        self.charge(sequence, us)
        sequence.num_charged = stop

    def _elements(self, sequence: Sequence) -> float:
        digest = sequence.digest
        if digest is None:
            return 0.0
        return self._residency.size_of(digest) / max(1, self._residency.pins_of(digest))

    def charge(self, sequence: Sequence, us: float) -> None:
        """Count device microseconds."""
        self._shares.charge(us, sequence.tenant, sequence.digest)

    def check_integrity(self, waiting: list[Sequence]) -> None:
        """Assert that these wait, and that nobody else is to pay for a load."""
        assert self._shares.num_waiting == len(waiting)
        assert set(self._orderers.values()) <= set(waiting)
