"""Times work on a GPU by events, one run per sample."""

from collections.abc import Callable

import torch

Work = Callable[[], object]

FLUSH_BYTES = 256 * 1024**2
WARM_UP_RUNS = 3


def do_nothing() -> None:
    """The reset of work that changes none of its inputs."""


class Stopwatch:
    """Times by events of one CUDA device; not for a CPU, where kernels are only interpreted."""

    def __init__(self, device: torch.device) -> None:
        self._flush = torch.empty(FLUSH_BYTES, dtype=torch.uint8, device=device)

    def capture(self, work: Work) -> Work:
        """The replay of a graph of `work`, which runs before, so that everything is compiled."""
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARM_UP_RUNS):
                work()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            work()
        return graph.replay

    def cold_us(self, work: Work, reset: Work, num: int) -> list[float]:
        """With nothing of its inputs in the L2 cache: that is written over after each reset.

        The write takes longer than the host takes to submit what follows, so no launch is waited
        for within a sample.
        """

        def prepare() -> None:
            reset()
            self._flush.zero_()

        return _sample_us(work, prepare, num)

    def warm_us(self, work: Work, reset: Work, num: int) -> list[float]:
        """With what the cache kept of the run before. The host may be waited for."""
        return _sample_us(work, reset, num)

    def eager_us(self, work: Work, reset: Work, num: int) -> list[float]:
        """From an idle device on, so that submitting counts as well."""

        def prepare() -> None:
            reset()
            torch.cuda.synchronize()

        return _sample_us(work, prepare, num)


def _sample_us(work: Work, prepare: Work, num: int) -> list[float]:
    pairs = []
    for _ in range(num):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        prepare()
        begin.record()
        work()
        end.record()
        pairs.append((begin, end))
    torch.cuda.synchronize()
    return [round(1000 * begin.elapsed_time(end), 3) for begin, end in pairs]
