"""A stopwatch without a GPU: it runs what it is given, and its times are made up."""

from weft.bench.stopwatch import Stopwatch, Work


class FakeStopwatch(Stopwatch):
    """Every capture and visit is written down; the samples of the nth visit are n, to a power."""

    def __init__(self, power: int = 1) -> None:
        self._power = power
        self.log: list[str] = []
        self._num = 0

    def capture(self, work: Work) -> Work:
        self.log.append("capture")
        return work

    def cold_us(self, work: Work, reset: Work, num: int) -> list[float]:
        return self._samples("cold", work, reset, num)

    def warm_us(self, work: Work, reset: Work, num: int) -> list[float]:
        return self._samples("warm", work, reset, num)

    def eager_us(self, work: Work, reset: Work, num: int) -> list[float]:
        return self._samples("eager", work, reset, num)

    def _samples(self, kind: str, work: Work, reset: Work, num: int) -> list[float]:
        self.log.append(kind)
        reset()
        work()
        self._num += 1
        return [float(self._num) ** self._power] * num
