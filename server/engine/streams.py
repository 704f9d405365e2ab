"""The sequences that live, by front and stream, and what their fronts are told."""

from collections.abc import Callable, Iterable

from weft.server.channel import EngineMessage, Failed, Submit
from weft.server.errors import (
    DeadlineExceeded,
    PromptTooLong,
    QueueFull,
    RequestInvalid,
    ServerError,
)

from .plan import Ended
from .scheduler import Scheduler
from .sequence import Sequence

Send = Callable[[bytes, EngineMessage], bool]
REFUSALS: dict[type[ServerError], str] = {
    RequestInvalid: "REQUEST_INVALID",
    PromptTooLong: "PROMPT_TOO_LONG",
    QueueFull: "QUEUE_FULL",
    DeadlineExceeded: "DEADLINE_EXCEEDED",
}


class Streams:
    """Every sequence that the scheduler knows; each ends here, and its front is told how."""

    def __init__(self, scheduler: Scheduler, *, send: Send) -> None:
        """Start with none.

        Args:
            send: Hands a message to a front and answers False if that front is gone.
        """
        self._scheduler = scheduler
        self._send = send
        self._sequences: dict[tuple[bytes, int], Sequence] = {}
        self._lost: set[bytes] = set()

    def __len__(self) -> int:
        return len(self._sequences)

    def add(self, sequence: Sequence) -> None:
        self._sequences[sequence.peer, sequence.request.stream] = sequence

    def get(self, peer: bytes, stream: int) -> Sequence | None:
        return self._sequences.get((peer, stream))

    def tell(self, peer: bytes, message: EngineMessage) -> None:
        """Send a message; a front that is gone is remembered as lost."""
        if not self._send(peer, message):
            self._lost.add(peer)

    def refuse(self, peer: bytes, request: Submit, error: ServerError) -> None:
        """Tell that a request is not queued."""
        reason = REFUSALS[type(error)]
        self.tell(peer, Failed(request.stream, reason, str(error), error.metadata))

    def end(self, ended: Ended, now: float) -> None:
        """Let a sequence go that its last token ended."""
        sequence, reason = ended
        del self._sequences[sequence.peer, sequence.request.stream]
        self.tell(sequence.peer, sequence.finished(reason, now))

    def fail(self, sequence: Sequence, reason: str, message: str, **metadata: str) -> None:
        """End a sequence by a fault, if it still lives; one of its beams stands for all."""
        stream = sequence.request.stream
        if self.drop(sequence.peer, stream) is None:
            return
        self.tell(sequence.peer, Failed(stream, reason, message, metadata))

    def drop(self, peer: bytes, stream: int) -> Sequence | None:
        """Take a sequence out, if it still lives."""
        sequence = self._sequences.pop((peer, stream), None)
        if sequence is not None:
            self._scheduler.finish(sequence)
        return sequence

    def drop_lost(self) -> set[bytes]:
        """Give up what was for fronts that are gone; answer these."""
        lost, self._lost = self._lost, set()
        for peer, stream in [key for key in self._sequences if key[0] in lost]:
            self.drop(peer, stream)
        return lost

    def check_integrity(self, live: Iterable[Sequence]) -> None:
        """Assert that these are the sequences `live`."""
        assert {id(s) for s in live} == {id(s) for s in self._sequences.values()}
