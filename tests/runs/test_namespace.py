"""A deployment is named once: by its configuration, else by a Variable that all of its first tasks agree on."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from airflow_spot import config
from airflow_spot.errors import RequestError
from airflow_spot.runs import namespace as module
from airflow_spot.runs.namespace import LOCAL, VARIABLE, namespace_for

AWS = "https://api.sagemaker.us-east-1.amazonaws.com"


@pytest.fixture(autouse=True)
def _unnamed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("AIRFLOW__AIRFLOW_SPOT__NAMESPACE", raising=False)
    monkeypatch.delenv("AIRFLOW_ENV_NAME", raising=False)
    monkeypatch.setattr(module, "_settled", {})
    config.deployment_namespace.cache_clear()
    yield
    config.deployment_namespace.cache_clear()


class Variables:
    """Airflow's Variables, as its API for tasks has them: the last who writes wins, and each call takes its time."""

    def __init__(self, slow: float = 0.0) -> None:
        self.values: dict[str, str] = {}
        self.writes = 0
        self._slow = slow
        self._dice = random.Random(7)
        self._lock = threading.Lock()

    def read(self, key: str) -> str | None:
        time.sleep(self._slow * self._dice.random())
        return self.values.get(key)

    def create(self, key: str, value: str, description: str) -> None:
        time.sleep(self._slow * self._dice.random())
        with self._lock:
            self.writes += 1
            self.values[key] = value


def named(variables: Variables, endpoint: str = AWS, **more: Any) -> str:
    return namespace_for(
        lambda: endpoint, read=variables.read, create=variables.create, sleep=more.pop("sleep", lambda seconds: None)
    )


def test_the_configuration_goes_first_and_asks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__AIRFLOW_SPOT__NAMESPACE", "prod")

    def nobody() -> str:
        raise AssertionError("the endpoint was asked for")

    assert namespace_for(nobody) == "prod"


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:4567", "http://localhost:4567", "http://[::1]:4567"])
def test_local_sagemaker_is_one_place(endpoint: str) -> None:
    assert named(Variables(), endpoint) == LOCAL


def test_a_variable_that_is_there_is_never_written(monkeypatch: pytest.MonkeyPatch) -> None:
    variables = Variables()
    variables.values[VARIABLE] = "an-old-name"
    assert named(variables) == "an-old-name"
    assert variables.writes == 0


def test_a_process_asks_once() -> None:
    variables = Variables()
    first = named(variables)
    variables.values.clear()
    assert named(variables) == first
    assert variables.writes == 1


def test_ten_first_tasks_at_once_agree() -> None:
    """None sees a Variable, all write one, and only then time passes: the order of the writes is the dice's."""
    variables, tasks = Variables(slow=0.01), 10
    looked, all_written = threading.Barrier(tasks), threading.Event()
    found: list[str] = []

    def task() -> None:
        first = True

        def read(key: str) -> str | None:
            nonlocal first
            value = variables.read(key)
            if first:
                first = False
                looked.wait(60)
            return value

        def create(key: str, value: str, description: str) -> None:
            variables.create(key, value, description)
            if variables.writes == tasks:
                all_written.set()

        found.append(module._agreed(read, create, lambda seconds: all_written.wait(60) and None, time.time))

    threads = [threading.Thread(target=task) for _ in range(tasks)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(found), variables.writes) == (tasks, tasks)
    assert set(found) == {variables.values[VARIABLE]}


def test_one_that_comes_between_two_first_writers_takes_what_stays() -> None:
    """It reads the first one's value at once, and must not take it: a second one is about to overwrite it."""
    variables = Variables()
    variables.create(VARIABLE, f"{'a' * 12}-{time.time():.0f}", "")

    def sleep(seconds: float) -> None:
        variables.values[VARIABLE] = f"{'b' * 12}-{time.time():.0f}"

    found = module._agreed(variables.read, variables.create, sleep, time.time)
    assert found == variables.values[VARIABLE] != f"{'a' * 12}"
    assert variables.writes == 1


@pytest.mark.parametrize("value", ["prod", f"{'a' * 12}-1700000000"])
def test_an_old_value_and_a_persons_are_taken_at_once(value: str) -> None:
    variables = Variables()
    variables.values[VARIABLE] = value

    def never(seconds: float) -> None:
        raise AssertionError("it waited")

    assert module._agreed(variables.read, variables.create, never, lambda: 1_800_000_000.0) == value


def test_one_that_comes_later_takes_what_stands() -> None:
    variables = Variables()
    early = module._agreed(variables.read, variables.create, lambda seconds: None, time.time)
    assert module._agreed(variables.read, variables.create, lambda seconds: None, time.time) == early
    assert variables.writes == 1


def test_without_a_name_and_without_a_variable_nothing_is_created() -> None:
    variables = Variables()

    def refused(key: str, value: str, description: str) -> None:
        raise PermissionError("read-only")

    variables.create = refused  # type: ignore[method-assign]
    with pytest.raises(RequestError, match=r"read-only.*AIRFLOW__AIRFLOW_SPOT__NAMESPACE"):
        named(variables)


def test_a_variable_that_never_settles_is_given_up() -> None:
    variables = Variables()
    numbers = iter(range(10_000))
    variables.read = lambda key: None if not variables.writes else f"{next(numbers):012d}-9999999999"  # type: ignore[method-assign]
    with pytest.raises(RequestError, match="keeps changing"):
        named(variables)
