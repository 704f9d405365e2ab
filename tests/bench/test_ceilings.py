"""Ceilings of the machine that the tests run on."""

import torch

from weft.bench.ceilings import best_s, measure_ceilings

CPU = torch.device("cpu")


def test_ceilings_of_this_machine_are_of_a_machine() -> None:
    found = measure_ceilings(CPU, torch.float32, copy_bytes=1 << 24, matmul_size=256)
    assert 1e8 < found.copy_bytes_s < 1e13
    assert 1e8 < found.matmul_flops_s < 1e14


def test_best_run_is_not_the_first() -> None:
    calls: list[int] = []

    def work() -> None:
        if not calls:
            torch.randn(400, 400).inverse()
        calls.append(0)

    assert best_s(CPU, work) < 1e-3
    assert len(calls) > 3
