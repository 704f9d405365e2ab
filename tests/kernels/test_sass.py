import pytest

from .sass import overwritten_operands, written_registers

PRODUCT = "/*10*/ HGMMA.64x128x16.F32.BF16 R24, R120, gdesc[UR8].tnspB, R24 ;"
WAIT = "/*30*/ WARPGROUP.DEPBAR.LE gsb0, 0x0 ;"


def test_writes_before_the_wait_are_found() -> None:
    writes = ["FMUL R123, R1, R2", "@P1 FADD R119, R1, R2", "LDS.128 R117, [R3]", "STS [R120], R5"]
    code = [PRODUCT, *(f"/*20*/ {write} ;" for write in writes), WAIT]
    assert overwritten_operands("\n".join(code)) == ["FMUL R123, R1, R2", "LDS.128 R117, [R3]"]


def test_writes_behind_the_wait_and_products_from_shared_memory_are_free() -> None:
    shared = "/*10*/ HGMMA.64x64x16.F32.BF16 R88, gdesc[UR12], R88, gsb0 ;"
    write = "/*40*/ MOV R120, R1 ;"
    assert overwritten_operands("\n".join([PRODUCT, WAIT, write])) == []
    assert overwritten_operands("\n".join([shared, write])) == []


@pytest.mark.parametrize(
    ("instruction", "first", "width"),
    [
        ("SHFL.BFLY PT, R4, R3, 0x1, 0x1f", 4, 1),
        ("IMAD.WIDE.U32 R6, R1, R2, R8", 6, 2),
        ("LDSM.16.M88.4 R12, [R5]", 12, 4),
        ("HGMMA.64x64x16.F32.BF16 R88, gdesc[UR12], R88", 88, 32),
        ("STG.E.128 desc[UR4][R2.64], R8", 0, 0),
        ("ISETP.GE.AND P0, PT, R1, R2, PT", 0, 0),
    ],
)
def test_registers_that_an_instruction_writes(instruction: str, first: int, width: int) -> None:
    assert written_registers(instruction) == set(range(first, first + width))
