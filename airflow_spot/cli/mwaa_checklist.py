"""CHECKLIST.md of ``airflow-spot mwaa``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

#: Statement -> its resources and actions; the placeholders are in capitals.
STATEMENTS: dict[str, tuple[list[str], list[str]]] = {
    "Jobs": (
        ["arn:aws:sagemaker:*:ACCOUNT:training-job/*"],
        [
            "sagemaker:AddTags",
            "sagemaker:CreateTrainingJob",
            "sagemaker:DescribeTrainingJob",
            "sagemaker:ListTags",
            "sagemaker:StopTrainingJob",
        ],
    ),
    # Neither can be narrowed to a resource.
    "FindJobs": (["*"], ["sagemaker:ListTrainingJobs"]),
    "PassRole": (["arn:aws:iam::ACCOUNT:role/SAGEMAKER-ROLE"], ["iam:PassRole"]),
    # Only where a task names its role without its ARN.
    "FindRole": (["arn:aws:iam::ACCOUNT:role/SAGEMAKER-ROLE"], ["iam:GetRole"]),
    "JobLogs": (
        ["arn:aws:logs:*:ACCOUNT:log-group:/aws/sagemaker/*"],
        ["logs:DescribeLogStreams", "logs:GetLogEvents"],
    ),
    "Data": (
        ["arn:aws:s3:::BUCKET", "arn:aws:s3:::BUCKET/*"],
        ["s3:GetObject", "s3:ListBucket", "s3:PutObject", "s3:AbortMultipartUpload"],
    ),
    # Only where tasks set checkpoint_retention.
    "Retention": (["arn:aws:s3:::BUCKET/CHECKPOINTS/*"], ["s3:DeleteObject"]),
    # Only with events_queue_url.
    "Events": (["arn:aws:sqs:*:ACCOUNT:QUEUE"], ["sqs:DeleteMessage", "sqs:ReceiveMessage"]),
}


def policy() -> dict[str, Any]:
    """What an environment's execution role needs beside what MWAA itself asks of it."""
    statements: list[dict[str, Any]] = [
        {"Sid": name, "Effect": "Allow", "Action": actions, "Resource": resources}
        for name, (resources, actions) in STATEMENTS.items()
    ]
    for statement in statements:
        if statement["Sid"] == "PassRole":
            statement["Condition"] = {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}}
    return {"Version": "2012-10-17", "Statement": statements}


def checklist(version: str, constraints_name: str, wheel_version: str, options: Sequence[tuple[str, str, str]]) -> str:
    """The text, for one environment.

    :param options: name, value and reason of each configuration option.
    """
    rows = "\n".join(f"| `{name}` | `{value}` | {why} |" for name, value, why in options)
    return f"""\
# airflow-spot {wheel_version} on MWAA with Airflow {version}

## 1. Try it before MWAA does

An update of an environment takes half an hour, and installs nothing at all if one requirement fails. On a machine with
Python 3.12, with Airflow {version} and MWAA's constraints of that version installed, and with the paths of
`requirements.txt` changed to where `plugins.zip` is unpacked and `dags/` is:

    pip install -r requirements.txt && pip check

## 2. Upload

To the bucket of the environment, with versioning on; `DAGS` is the environment's DAGs folder:

    aws s3 cp plugins.zip s3://BUCKET/plugins.zip
    aws s3 cp requirements.txt s3://BUCKET/requirements.txt
    aws s3 cp dags/{constraints_name} s3://BUCKET/DAGS/{constraints_name}

- [ ] If the environment has a `plugins.zip` already, add the wheel to that one, at its top.
- [ ] If it has a `requirements.txt` already, add the lines to that one; its comment says how to do so with an index.
- [ ] Name the new S3 versions of both files: an environment stays with the versions that it was given.

## 3. Configure

    aws mwaa update-environment --name ENVIRONMENT \\
        --plugins-s3-path plugins.zip --plugins-s3-object-version VERSION \\
        --requirements-s3-path requirements.txt --requirements-s3-object-version VERSION \\
        --airflow-configuration-options file://airflow-configuration-options.json

`--airflow-configuration-options` replaces all options of the environment: merge its own into the file first.

| option | value | why |
| --- | --- | --- |
{rows}

- [ ] Do not set `operators.default_deferrable` for this: the stock Amazon operators then defer too, which takes
      aiobotocore, and this package does not bring it. Give `deferrable=True` to the spot tasks.
- [ ] Give every spot task `retries=2` or more. MWAA takes workers away when it scales in and when it is maintained; the
      next try then finds the job and keeps waiting. Without one, nobody does.
- [ ] Tasks that wait in the worker (`deferrable=False`) must end within 12 hours, the longest that the queue, SQS,
      keeps a message from a second worker.

## 4. Permissions

The environment's execution role needs these beside what MWAA asks of it, with your names for what is in capitals:

```json
{json.dumps(policy(), indent=2)}
```

- [ ] The SageMaker role trusts `sagemaker.amazonaws.com`, and reads and writes the data and the checkpoints.
- [ ] The quotas "INSTANCE-TYPE for spot training job usage" are above zero; for GPUs they are zero at first.
- [ ] In private subnets without a NAT gateway there are VPC endpoints for the SageMaker API, STS, CloudWatch Logs
      and S3.

## 5. When it starts

There is no startup script. In the environment's log groups, the streams `requirements_install_...` of scheduler, worker
and web server say `Successfully installed airflow-spot-{wheel_version}`, and install nothing else.

- [ ] Airflow's page of providers names `airflow-spot {wheel_version}`.
- [ ] A DAG that imports `airflow_spot.operators.training` shows no import error.

## 6. Try first

With the cheapest instance type, `max_run="15m"` and a script that writes to `/opt/ml/checkpoints`:

- [ ] It succeeds, its XCom has `Spot`, and the job's `BillableTimeInSeconds` is below its `TrainingTimeInSeconds`.
- [ ] Mark the task failed while it is deferred: within a minute or two the job is Stopping.
- [ ] Clear it: a second job starts from the checkpoint of the first.
- [ ] Stop the job in SageMaker's console: the task fails at once, and is not retried.
"""  # noqa: S608 - prose, with an `update` in it
