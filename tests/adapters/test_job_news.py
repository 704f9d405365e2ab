"""One reader for all watchers."""

import asyncio

import pytest
import redis.asyncio

from weft.adapters import keys
from weft.adapters.job_news import Heard, JobNews, read_stream


async def test_only_the_jobs_own_listeners_hear_its_news(
    redis_client: redis.asyncio.Redis,
) -> None:
    news = JobNews(redis_client)
    with news.listen("a") as first, news.listen("a") as second, news.listen("b") as other:
        async with asyncio.TaskGroup() as tasks:
            follower = tasks.create_task(news.follow())
            hearing = [tasks.create_task(heard.wait()) for heard in (first, second)]
            deaf = tasks.create_task(other.wait())
            async with asyncio.timeout(5):
                while not all(task.done() for task in hearing):
                    await redis_client.xadd(keys.JOB_NEWS, {"job": "a"})
                    await asyncio.sleep(0)
            assert not deaf.done()
            deaf.cancel()
            while not follower.done():  # redis-py can swallow one
                follower.cancel()
                await asyncio.sleep(0)


async def test_news_before_the_wait_are_not_missed() -> None:
    heard = Heard()
    heard.set()
    async with asyncio.timeout(1):
        await heard.wait()

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await heard.wait()


def test_both_protocols_answers_are_read() -> None:
    entry = (b"1-0", {b"job": b"a"})
    assert read_stream([[b"s", [entry]]]) == [entry]
    assert read_stream({b"s": [[entry]]}) == [entry]
    assert read_stream([]) == read_stream({}) == []
