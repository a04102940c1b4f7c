"""The words of a report that are the experiments' own, or AWS's: a role of such a name must not make it unreadable."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from airflow_spot.core.outcomes import ENDED_STATUSES, WAITING_STATUSES, WORKING_STATUSES
from airflow_spot.verify.scratch import NAME_PREFIX
from airflow_spot.verify.suite import EXPERIMENTS
from airflow_spot.verify.verdicts import Kind

WORD = re.compile(r"[A-Za-z0-9]+")

#: Of AWS's messages and of the reasons for what was not reached, as far as neither an experiment nor a status has them.
_FURTHER = """
InProgress MaxRuntimeExceeded MaxWaitTimeExceeded Updating Deleting NoSuchBucket NoSuchKey AccessDenied
AccessDeniedException ClientError AlgorithmError CapacityError InternalServerError ExecuteUserScriptError ExitCode
ErrorMessage Command Exit Value Member EnableManagedSpotTraining trainingJobName roleArn
RequestId HostId http https amazonaws

account action after again algorithm all allow allows and any archive are as assume at available aws be because before
below bucket but by call called can cannot capacity caused code constraint container could created current data
default delta denied describe detected did does download downloaded downloading downloads due ec2 end ended ensure
error errors exceed exceeded exist exists fail failed failure file find for found framework from function gap gaps
given has have hour id identity image images in increase input instance instances insufficient internal interrupted
interruption invalid is it its jobs kept key known large last later launching left less level limit limits long
machine member message metric minute missing model more name named names needs never no none not nothing object
objects of once one only operation or our output own perform permission please policy prefix preparing principal
progress provision python python3 quota quotas reason refused region rejected repository request requested required
resource resources retry retrying role run runs s3 sagemaker satisfy script seen selected service set since so
specified spot started starting status stayed stays still stop stopped stopping stored such support supported test
than that the there this time to too train trained training trust type unable under unknown up upload uploaded
uploading uploads usage use used user using utilization validation values verify wait waiting was we when while with
you your yours
"""

#: Names of the files that the scripts and Local SageMaker's or AWS's uploads leave, and the directory of a container.
VALUE = re.compile(
    r"(?:kept|gone|skipped|step|deep/other|seen\.json|start-\d+\.json|(?:model|output)\.tar\.gz|/opt/ml/code)"
    r"(?:\.tmp)?(?:\.sagemaker-(?:ignore|uploading|uploaded))*"
)


def _texts() -> Iterator[str]:
    for each in EXPERIMENTS:
        yield from (each.id, each.title, each.assumption, each.setup.id, *each.also)
        for one in each.expectations:
            yield from (one.fact, one.words)
    yield from (kind.value for kind in Kind)
    yield from ENDED_STATUSES | WAITING_STATUSES | WORKING_STATUSES
    yield from (NAME_PREFIX, _FURTHER)


def words(texts: Iterable[str]) -> frozenset[str]:
    """Return the words of some texts, in lower case; those of a name with underscores are single words."""
    return frozenset(word.lower() for text in texts for word in WORD.findall(text))


WORDS = words(_texts())
