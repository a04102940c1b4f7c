"""Whoever came first is let through first, one for each share that is given back."""

from __future__ import annotations

import asyncio

from airflow_spot.watch.quota_queue import QuotaQueue
from tests.watch.hours import run


def test_in_the_order_in_which_they_came_and_one_for_each_share() -> None:
    async def scenario() -> tuple[list[int], int]:
        turnstile, passed = QuotaQueue(), []

        async def come(number: int) -> None:
            if await turnstile.wait("g5", 5):
                passed.append(number)

        tasks = []
        for number in range(4):
            tasks.append(asyncio.ensure_future(come(number)))
            await asyncio.sleep(0)
        turnstile.release("p3")
        turnstile.release("g5")
        turnstile.release("g5")
        await asyncio.sleep(0.05)
        left = turnstile.waiting("g5")
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert turnstile.waiting("g5") == 0
        return passed, left

    assert run(scenario()) == ([0, 1], 2)


def test_a_wait_that_is_cancelled_gives_its_place_up() -> None:
    async def scenario() -> bool:
        turnstile = QuotaQueue()
        first = asyncio.ensure_future(turnstile.wait("g5", 5))
        await asyncio.sleep(0)
        second = asyncio.ensure_future(turnstile.wait("g5", 5))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.sleep(0)
        turnstile.release("g5")
        return await second

    assert run(scenario())


def test_without_a_turn_the_time_passes() -> None:
    turnstile = QuotaQueue()
    assert run(turnstile.wait("g5", 5)) is False
    assert turnstile.waiting("g5") == 0
