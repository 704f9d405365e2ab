"""Carries out what residency decides: asks the fronts, feeds the loader, writes the rows."""

from collections.abc import Callable, Iterator

from weft.adapters.sites import BaseFacts
from weft.kernels import Arena

from .loader import Broken, Copied, Done, GivenUp, Loader, Missing, Opened
from .places import Clear, Command, Copy, Fetch, Park
from .residency import Residency


class Loads:
    """The loads of one arena, between its residency and its loader.

    Between the steps only: rows and runs are written while no step reads them.
    """

    def __init__(
        self,
        facts: BaseFacts,
        arena: Arena,
        residency: Residency,
        *,
        ask: Callable[[bytes, str], None],
        settle: Callable[[], None],
        park: Callable[[str, float], None],
        loaded: Callable[[str, float], None],
    ) -> None:
        """Start the loader.

        Args:
            ask: Asks a front for the image of a digest.
            settle: Waits for the step that is in flight, before what it reads is changed.
            park: Has the running sequences of a digest wait.
            loaded: Told the tier and the seconds of every load.
        """
        self._arena = arena
        self._residency = residency
        self._ask = ask
        self._settle = settle
        self._park = park
        self._loaded = loaded
        self._loader = Loader(facts, arena, host_elements=residency.host.num_elements)

    @property
    def is_busy(self) -> bool:
        """Whether the loader has something in hand."""
        return self._loader.is_busy

    def wait(self, timeout_s: float) -> None:
        """Return when the loader has done something, or after `timeout_s`."""
        self._loader.wait(timeout_s)

    def close(self) -> None:
        """End the loader."""
        self._loader.close()

    def take(self) -> Iterator[Missing | Broken]:
        """Enter what has been loaded; yield every load that failed, when residency knows of it."""
        for done in self._loader.take():
            failure = self._enter(done)
            if failure is not None:
                self._residency.fail(failure.digest)
                yield failure

    def order(self, now: float) -> None:
        """Start every load that there is room for, and whatever else residency asks for."""
        self._residency.place(now)
        while commands := self._residency.take_commands():
            self._obey(commands, now)
            self._residency.place(now)
        if not self._loader.is_busy:  # so that no load on demand waits for it
            self._residency.prefetch(now)
            self._obey(self._residency.take_commands(), now)

    def _obey(self, commands: list[Command], now: float) -> None:
        for command in commands:
            if isinstance(command, Park | Clear | Copy):
                self._settle()
            match command:
                case Fetch(peer, digest):
                    self._ask(peer, digest)
                case Park(digest):
                    self._park(digest, now)
                case Clear(slot):
                    self._arena.clear_row(slot)
                case _:
                    self._loader.put(command)

    def _enter(self, done: Done) -> Missing | Broken | None:
        match done:
            case Opened():
                return self._enter_opened(done)
            case Copied():
                return self._enter_copied(done)
            case GivenUp(digest):
                self._residency.given_up(digest)
                return None
            case _:
                return done

    def _enter_opened(self, done: Opened) -> Broken | None:
        self._residency.opened(done.digest, done.size)
        limit, total = self._residency.largest_place, self._residency.num_elements
        if done.size <= limit:
            return None
        message = f"an image of {done.size} elements exceeds the arena's {total}"
        if limit < total:
            message += f", of which pinned adapters leave {limit} in one piece"
        return Broken(done.digest, "ADAPTER_LOAD_FAILED", message)

    def _enter_copied(self, done: Copied) -> Broken | None:
        """Write the row, unless this arena cannot take it: another server may admit more."""
        image = done.image
        try:
            self._arena.write_row(done.slot, done.at + image.a_at, done.at + image.b_at, image.rank)
        except ValueError as error:
            return Broken(done.digest, "ADAPTER_LOAD_FAILED", str(error))
        self._residency.turns.costs.learn(done.origin, image.num_elements, done.seconds)
        self._residency.copied(done.digest)
        self._loaded(done.origin, done.seconds)
        return None
