"""A zombie's stop and its successor's taking over, in every order of their calls."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_spot.core.marks import TAG_OWNER, TAG_STOP, StopMark
from airflow_spot.core.try_marks import TryMark
from tests.support.sagemaker import ARN, DictionaryHook, DictionarySageMaker

NAME = "digits-afspot-aaaaaaaaaa-1-1"


@pytest.mark.parametrize("calls", range(8))
def test_a_stop_never_reads_as_a_persons_when_a_successor_takes_over(calls: int) -> None:
    """The successor, which has seen the mark and a live job, takes over after the zombie's nth call."""
    service = DictionarySageMaker()
    service.put(NAME)
    service.marks[f"{ARN}{NAME}"] = {TAG_OWNER: "1", TAG_STOP: "killed 1"}
    hook = DictionaryHook(service)
    left = calls

    class Zombie:
        """A client between whose calls the successor acts."""

        def __getattr__(self, name: str) -> Any:
            nonlocal left
            if left == 0:
                take_over()
            left -= 1
            return getattr(service, name)

    def take_over() -> None:
        hook.marks.set_owner(f"{ARN}{NAME}", TryMark(2, 3))
        hook.marks.revoke_stop(NAME, f"{ARN}{NAME}", StopMark("killed", 1), 2)

    hook.stop(NAME, StopMark("killed", 1), owner=1, client=Zombie())
    if left >= 0:
        take_over()
    stopped = service.jobs[NAME]["TrainingJobStatus"] != "InProgress"
    mark = StopMark.parse(service.tags_of(NAME)[TAG_STOP])
    assert mark is not None
    assert mark.withdrawn is not stopped
