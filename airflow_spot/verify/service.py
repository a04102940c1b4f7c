"""The service that is asked: AWS, or Local SageMaker, which can be made to interrupt a job."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from airflow_spot.core.locations import is_loopback
from airflow_spot.verify.pace import Pace


@dataclass(frozen=True)
class Control:
    """
    Local SageMaker's control endpoint.

    :param url: of the service.
    :param grace: from SIGTERM to SIGKILL, in seconds.
    :param relocates: whether its jobs have no ``/opt/ml`` of their own, but other paths.
    """

    url: str
    grace: float = 0.0
    relocates: bool = False

    def call(self, action: str, **body: Any) -> dict[str, Any]:
        """
        Carry out an action.

        :raises OSError: nobody answers, or the answer is an error.
        :raises ValueError: the answer is no JSON.
        """
        request = urllib.request.Request(  # noqa: S310 - its scheme was looked at in find_control
            f"{self.url}/_airflow_spot/{action}", json.dumps(body).encode(), method="POST"
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=30) as response:
            answer: dict[str, Any] = json.load(response)
        return answer

    def interrupt(self, job_name: str, region: str, capacity_gap: float) -> None:
        """Take a spot job's instance back; for ``capacity_gap`` seconds it then gets none."""
        self.call("interrupt", job=job_name, region=region, capacity_gap=capacity_gap)


def find_control(endpoint_url: str) -> Control | None:
    """
    Return the control of the Local SageMaker at an address; None where none is there.

    Only this machine is asked: it answers nobody else.
    """
    parts = urlsplit(endpoint_url)
    if parts.scheme not in ("http", "https") or not is_loopback(parts.hostname or ""):
        return None
    url = endpoint_url.rstrip("/")
    try:
        health = Control(url).call("health")
        return Control(url, float(health["grace_seconds"]), relocates=health.get("namespace") is False)
    except (OSError, ValueError, KeyError, TypeError):
        return None


@dataclass(frozen=True)
class Service:
    """
    What the setups need of the service.

    :param sagemaker: a boto3 client, as is ``s3``. Both are used from several threads.
    :param role: the ARN of the role that the jobs have.
    :param bucket: where scratch data goes.
    :param image: with a ``python3``.
    :param has_toolkit: whether the image is one of AWS's frameworks, which run scripts by themselves.
    :param control: of Local SageMaker; None on AWS.
    """

    sagemaker: Any
    s3: Any
    region: str
    role: str
    bucket: str
    instance_type: str
    image: str
    has_toolkit: bool
    pace: Pace
    control: Control | None = None
