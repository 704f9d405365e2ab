import asyncio

import pytest

from weft.server.ungrouped import ungrouped


async def fail(error: Exception) -> None:
    raise error


async def fail_in_a_group(*errors: Exception) -> None:
    with ungrouped(LookupError):
        async with asyncio.TaskGroup() as group:
            for error in errors:
                group.create_task(fail(error))


def test_first_failure_of_the_kind_comes_out_by_itself() -> None:
    with pytest.raises(KeyError, match="one"):
        asyncio.run(fail_in_a_group(KeyError("one"), KeyError("two")))


def test_another_kind_stays_in_its_group() -> None:
    with pytest.raises(ExceptionGroup) as raised:
        asyncio.run(fail_in_a_group(ValueError("other")))
    assert isinstance(raised.value.exceptions[0], ValueError)
