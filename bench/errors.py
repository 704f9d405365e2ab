"""Why a benchmark ends early.

BenchError
├── RunFailed      the engine ended a sequence by a fault
├── PeerMissing    a peer's package is not installed
├── PeerFailed     a peer's process broke down
├── NotApplicable  a contender cannot run a cell
├── DiskTooSmall   the adapters of a setting do not fit
├── NoKnee         a server takes no load at all
└── WrongBase      a server that runs has another base
"""


class BenchError(Exception):
    """A benchmark cannot go on; the message says why."""


class RunFailed(BenchError):
    """The engine ended a sequence by a fault."""


class PeerMissing(BenchError):
    """A peer's package is not installed."""


class PeerFailed(BenchError):
    """A peer's process broke down; the message has its last words."""


class NotApplicable(BenchError):
    """A contender cannot run a cell; the message is the reason, in a few words."""


class DiskTooSmall(BenchError):
    """The adapters of a setting do not fit; the message has both sizes."""


class NoKnee(BenchError):
    """A server takes no load at all; the message has the lowest that was tried."""


class WrongBase(BenchError):
    """A server that runs has another base than was named; the message has both digests."""
