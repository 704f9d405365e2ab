"""The workloads W1 to W6: as they are on an 8B shape, and as small ones for two cores."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path

from weft.bench.shapes import SHAPES

from .plan import ALL, ATTENTION, QV, AdapterSpec, Chain, Churn, Run, Setting, Stream
from .traffic import Azure, Uniform

U = Uniform((8, 512), (8, 512))
SMALL_U = Uniform((16, 64), (8, 32))
CAPACITY = 1.2
CAPACITY_S = 120.0
S1_RANKS, S2_RANKS = (8,), (64, 32, 16, 8)
SMALL_SLOTS = 8
SMALL_TENANTS = 4


def make_adapters(
    num: int,
    ranks: Sequence[int],
    *,
    targets: tuple[str, ...] = ALL,
    tenants: Sequence[int] = (0,),
    prefix: str = "a",
) -> tuple[AdapterSpec, ...]:
    """Adapters with these ranks and tenants in turn."""
    own = zip(cycle(ranks), cycle(tenants), strict=False)
    return tuple(
        AdapterSpec(f"{prefix}{i}", rank, targets, tenant)
        for i, (rank, tenant) in enumerate(islice(own, num))
    )


def make_runs(
    name: str, *, small: str | None, seconds: float | None, trace: Path | None
) -> list[Run]:
    """The runs of a workload, in order.

    Args:
        small: Shape of the small variant; None = the workload itself.
        seconds: Of the workload in place of its own time, split evenly over its runs.
        trace: CSV of W3's lengths.
    """
    if small is not None:
        runs = _SMALL[name](small_setting(small))
        return _share_time(runs, 8.0 if seconds is None else seconds)
    runs = _w3(trace) if name == "W3" else _FULL[name]()
    return runs if seconds is None else _share_time(runs, seconds)


def _share_time(runs: list[Run], seconds: float) -> list[Run]:
    """Give every run its share, and a churn its phases: quarters of it."""
    share = seconds / len(runs)
    return [
        replace(
            run,
            seconds=share,
            churn=None if run.churn is None else replace(run.churn, phase_s=share / 4),
        )
        for run in runs
    ]


def _w1() -> list[Run]:
    """The price of LoRA, shared and distinct: at one rate, and by capacity."""
    adapters = make_adapters(256, (16,))
    return _w1_runs(Setting("8b", adapters, adapters), adapters, U, 16, seconds=300.0) + [
        replace(
            run,
            name=f"{run.name}, capacity",
            seconds=CAPACITY_S,
            streams=(replace(run.streams[0], load=CAPACITY),),
            at_capacity=True,
        )
        for run in _w1_runs(Setting("8b", adapters, adapters), adapters, U, 16, seconds=300.0)
    ]


def _w1_runs(
    setting: Setting,
    adapters: tuple[AdapterSpec, ...],
    lengths: Uniform,
    num_uniform: int,
    *,
    seconds: float,
) -> list[Run]:
    kinds = {
        "base": Stream(lengths, 0.7),
        "identical": Stream(lengths, 0.7, adapters=adapters[:1], popularity="identical"),
        "uniform": Stream(lengths, 0.7, adapters=adapters[:num_uniform]),
        "zipf 1.0": Stream(lengths, 0.7, adapters=adapters, popularity="zipf 1.0"),
        "distinct": Stream(lengths, 0.7, adapters=adapters, popularity="distinct"),
    }
    return [Run("W1", name, setting, seconds, (stream,)) for name, stream in kinds.items()]


def _w2() -> list[Run]:
    """S-LoRA's set-ups by the number of adapters, and the cliff behind the slots."""
    runs = []
    for name, ranks in (("S2", S2_RANKS), ("S1", S1_RANKS)):
        for num in (0, 5, 100, 1000, 2000):
            adapters = make_adapters(num, ranks, targets=ATTENTION)
            arena = make_adapters(min(num, 2000 if name == "S1" else 500), ranks, targets=ATTENTION)
            setting = Setting("7b", adapters, arena)
            runs += _w2_runs(f"{name} n={num}", setting, "uniform")
            if name == "S2" and num == 1000:
                runs += _w2_runs(f"{name}z n={num}", setting, "zipf 1.0")
    slots = make_adapters(16, (64,))
    for num in (16, 32):
        adapters = make_adapters(num, (64,))
        stream = Stream(U, 0.5, adapters=adapters)
        setting = Setting("8b", adapters, slots)
        runs.append(Run("W2", f"cliff n={num}", setting, 300.0, (stream,), needs_arena=True))
    return runs


def _w2_runs(name: str, setting: Setting, popularity: str) -> list[Run]:
    fixed = Stream(U, rate=10.0, adapters=setting.adapters, popularity=popularity)
    offered = replace(fixed, rate=None, load=CAPACITY)
    return [
        Run("W2", name, setting, 300.0, (fixed,)),
        Run("W2", f"{name}, capacity", setting, CAPACITY_S, (offered,), at_capacity=True),
    ]


def _w3(trace: Path | None) -> list[Run]:
    """Lengths of a trace, popularity by Zipf, an arena for a fifth of a thousand adapters."""
    return [
        Run("W3", f"n={num} zipf {alpha} cv={cv:g}", setting, 600.0, (stream,))
        for num in (100, 1000)
        for adapters in [make_adapters(num, (8, 16, 32, 64, 128), targets=QV)]
        for setting in [Setting("8b", adapters, adapters[:190])]
        for alpha in (0.9, 1.2)
        for cv in (1.0, 4.0)
        for stream in [
            Stream(Azure(trace), 0.5, adapters=adapters, popularity=f"zipf {alpha}", cv=cv)
        ]
    ]


def _w4() -> list[Run]:
    """Warm adapters beside publications of large ones."""
    warm = make_adapters(32, (16,))
    cold = make_adapters(60, (64,), prefix="cold")
    setting = Setting("8b", warm, (*warm, *cold[:8]), cold)
    stream = Stream(U, 0.7, adapters=warm, group="warm")
    return [Run("W4", "churn", setting, 600.0, (stream,), churn=Churn(cold, 60.0, 12))]


def _w5() -> list[Run]:
    """A base's answer that three adapters go on from."""
    adapters = make_adapters(24, (32,))
    setting = Setting("8b", adapters, adapters)
    return [
        Run("W5", f"C={context}", setting, 300.0, chain=Chain(adapters, context, 0.5))
        for context in (1024, 8192, 32768)
    ]


def _w6() -> list[Run]:
    """Nine polite tenants, without and with one that asks for more than its share."""
    polite = [
        make_adapters(10, (16,), tenants=(tenant,), prefix=f"t{tenant}-") for tenant in range(9)
    ]
    theirs = make_adapters(100, (64,), targets=QV, tenants=(9,), prefix="abuser-")
    everybody = tuple(spec for own in polite for spec in own)
    setting = Setting("8b", (*everybody, *theirs), (*everybody, *theirs[:10]))
    streams = [
        Stream(U, 0.07, adapters=own, popularity="zipf 1.0", group="polite") for own in polite
    ]
    abuse = Stream(
        Uniform((2048, 4096), (128, 129)),
        0.7,
        adapters=theirs,
        popularity="distinct",
        group="abuser",
    )
    return _w6_runs(setting, streams, abuse, seconds=300.0)


def _w6_runs(
    setting: Setting, polite: Sequence[Stream], abuse: Stream, *, seconds: float
) -> list[Run]:
    return [
        Run("W6", "without", setting, seconds, tuple(polite), needs_tenants=True),
        Run("W6", "with", setting, seconds, (*polite, abuse), needs_tenants=True),
    ]


def small_setting(shape: str) -> Setting:
    """Sixteen adapters of four tenants, and an arena for eight: one server for all workloads."""
    adapters = tuple(
        replace(spec, tenant=i // SMALL_TENANTS)
        for i, spec in enumerate(make_adapters(16, (8, 16, 32, 64)))
    )
    return Setting(shape, adapters, adapters[:SMALL_SLOTS], make_adapters(8, (64,), prefix="cold"))


def _small_w1(setting: Setting) -> list[Run]:
    resident = setting.adapters[:SMALL_SLOTS]
    return _w1_runs(setting, resident, SMALL_U, SMALL_SLOTS, seconds=8.0)


def _small_w2(setting: Setting) -> list[Run]:
    return [
        Run("W2", f"n={num}", setting, 8.0, (Stream(SMALL_U, 0.7, adapters=own),))
        for num in (0, 5, 16)
        for own in [setting.adapters[:num]]
    ]


def _small_w3(setting: Setting) -> list[Run]:
    return [
        Run("W3", f"n=16 zipf {alpha} cv={cv:g}", setting, 8.0, (stream,))
        for alpha, cv in ((0.9, 1.0), (1.2, 4.0))
        for stream in [
            Stream(SMALL_U, 0.5, adapters=setting.adapters, popularity=f"zipf {alpha}", cv=cv)
        ]
    ]


def _small_w4(setting: Setting) -> list[Run]:
    stream = Stream(SMALL_U, 0.5, adapters=setting.adapters[:4], group="warm")
    churn = Churn(setting.cold, 2.0, 4, prompt=32, output=8)
    return [Run("W4", "churn", setting, 8.0, (stream,), churn=churn)]


def _small_w5(setting: Setting) -> list[Run]:
    return [
        Run("W5", f"C={context}", setting, 8.0, chain=chain)
        for context in (128, min(512, SHAPES[setting.shape].max_context - 64))
        for chain in [Chain(setting.adapters, context, 0.1, answer=16, output=8)]
    ]


def _small_w6(setting: Setting) -> list[Run]:
    streams = [
        Stream(SMALL_U, 0.12, adapters=own, popularity="zipf 1.0", group="polite")
        for i in range(SMALL_TENANTS - 1)
        for own in [setting.adapters[4 * i : 4 * i + 4]]
    ]
    abuse = Stream(
        Uniform((64, 128), (16, 17)),
        0.7,
        adapters=setting.adapters[-4:],
        popularity="distinct",
        group="abuser",
    )
    return _w6_runs(setting, streams, abuse, seconds=8.0)


_FULL = {"W1": _w1, "W2": _w2, "W4": _w4, "W5": _w5, "W6": _w6}
_SMALL = {
    "W1": _small_w1,
    "W2": _small_w2,
    "W3": _small_w3,
    "W4": _small_w4,
    "W5": _small_w5,
    "W6": _small_w6,
}
