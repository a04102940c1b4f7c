"""The jobs that this account has had, which tell more than what AWS says of all accounts."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from itertools import islice
from typing import Any

from airflow_spot.aws import jobs
from airflow_spot.core.attempt import Attempt
from airflow_spot.market.asking import reason

LIST, DESCRIBE = "sagemaker:ListTrainingJobs", "sagemaker:DescribeTrainingJob"


def own_attempts(sagemaker: Callable[[], Any], since: datetime, most: int) -> tuple[list[Attempt], dict[str, str]]:
    """
    Return the newest attempts of this package's runs, and by permission why something could not be read.

    :param sagemaker: returns boto3's client.
    :param since: none that was created before.
    :param most: how many; each is described by a call of its own. Tags are not asked for.
    """
    found: list[Attempt] = []
    permission = LIST
    try:
        client = sagemaker()
        names = [str(line["TrainingJobName"]) for line in islice(jobs.summaries(client, since=since), most)]
        permission = DESCRIBE
        for name in names:
            if description := jobs.find(client, name):
                found.append(Attempt.from_description(description, {}))
    except Exception as error:  # advice is given without them, too
        return found, {permission: reason(error, permission).why}
    return found, {}
