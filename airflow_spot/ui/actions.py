"""What a viewer may ask of a run from its page: stop it, or go to on-demand now. The run itself does the rest."""

from __future__ import annotations

import shlex
import threading
import time
from collections.abc import Callable
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from airflow_spot import config
from airflow_spot.render import routes
from airflow_spot.render.ledger_format import OVER, AttemptLine, Timeline
from airflow_spot.render.values import Actions, Viewed
from airflow_spot.render.words import AIRFLOW_OVER

if TYPE_CHECKING:
    from airflow_spot.core.attempt import Attempt

#: What the actions are called where their commands stand.
LABELS = {routes.STOP: "Stop, keep the checkpoint", routes.ON_DEMAND: "Go to on-demand now"}
#: Seconds for which it is believed whether this process has credentials: to look may take seconds.
_CREDENTIALS_SECONDS = 300.0


class RefusedError(Exception):
    """
    What was asked for was not done; the message says why.

    :param status: of HTTP.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Credentials:
    """Knows whether this process has credentials of AWS."""

    def __init__(self, find: Callable[[], bool], clock: Callable[[], float] = time.monotonic) -> None:
        self._find = find
        self._clock = clock
        self._lock = threading.Lock()
        self._known: tuple[float, bool] | None = None

    def __bool__(self) -> bool:
        with self._lock:
            if self._known is None or self._clock() - self._known[0] > _CREDENTIALS_SECONDS:
                self._known = (self._clock(), self._find())
            return self._known[1]


def _has_credentials() -> bool:
    import boto3
    from botocore.exceptions import BotoCoreError

    try:
        return boto3.Session().get_credentials() is not None
    except BotoCoreError:
        return False


CREDENTIALS = Credentials(_has_credentials)


def live_job(viewed: Viewed) -> AttemptLine | None:
    """Return the attempt that the ledger says is live; None where there is none."""
    timeline = viewed.timeline
    if timeline is None or timeline["state"] in OVER or viewed.state in AIRFLOW_OVER:
        return None
    live = [
        one for one in timeline["attempts"] if one["ended"] is None and one["status"] not in ("Stopped", "Stopping")
    ]
    return live[-1] if live else None


def offered(viewed: Viewed, *, may_edit: bool, credentials: object = CREDENTIALS) -> Actions:
    """Return what a viewer may ask of a task instance: by buttons, or by commands where this process has no access."""
    live = live_job(viewed)
    if not may_edit or live is None or viewed.timeline is None or not config.actions():
        return Actions()
    shown = tuple((LABELS[name], command) for name, command in commands(viewed.timeline, live).items())
    return Actions(allowed=True, commands=() if credentials else shown)


def commands(timeline: Timeline, live: AttemptLine) -> dict[str, str]:
    """Return the commands that do the same, by the names of the actions."""
    stop = f"airflow-spot stop --job {shlex.quote(live['job'])} --region {shlex.quote(timeline['region'])}"
    return {routes.STOP: stop, **({routes.ON_DEMAND: f"{stop} --on-demand"} if live["spot"] else {})}


def carry_out(name: str, viewed: Viewed, make_client: Callable[[str], Any] | None = None) -> str:
    """
    Do what was asked for, and return what was done, as a sentence.

    :param name: one of :data:`routes.ACTIONS`.
    :param make_client: makes a client of SageMaker for a region.
    :raises RefusedError: it was not done.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    from airflow_spot.aws import asked_stops

    live, timeline = live_job(viewed), viewed.timeline
    if live is None or timeline is None:
        raise RefusedError(409, "No training job of this run is live: there is nothing to stop.")
    command = commands(timeline, live).get(name)
    if command is None:
        raise RefusedError(409, "The run is on-demand already.")
    instead = f" Run it yourself where you have access: {command}"
    try:
        sagemaker = (make_client or _client)(timeline["region"])
        found = asked_stops.live_attempts(sagemaker, timeline["key"], datetime.now(timezone.utc))
        attempt = next((one for one in found if one.job_name == live["job"]), None)
        if attempt is None:
            raise RefusedError(
                409,
                f"There is no live training job {live['job']} in the account that Airflow's web server uses.{instead}",
            )
        _check_is_of(sagemaker, attempt.arn, viewed, instead)
        if attempt.status == "Stopping":
            return _stopping_already(name, attempt)
        if name == routes.STOP:
            asked_stops.stop_for_good(sagemaker, attempt)
            then = "The task fails and is not retried; clear it to resume from the checkpoint."
            return f"Stopping {attempt.job_name}. {then}"
        asked_stops.stop_to_go_on(sagemaker, attempt, asked_stops.ON_DEMAND)
        return f"Stopping {attempt.job_name}. The task continues on-demand, where its ladder has such a rung."
    except asked_stops.CannotMarkError as error:
        raise RefusedError(409, f"{error}.{instead}") from None
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", "an error"))
        raise RefusedError(502, f"SageMaker answered {code}.{instead}") from None
    except BotoCoreError as error:
        raise RefusedError(502, f"SageMaker cannot be called ({type(error).__name__}).{instead}") from None


def _stopping_already(name: str, attempt: Attempt) -> str:
    """Return that a job is stopping already, where that is what was asked for."""
    goes_on = attempt.stop is not None and not attempt.stop.withdrawn
    if goes_on is (name == routes.STOP):
        then = "the run continues: stop its next attempt" if goes_on else "the task fails: clear it to continue"
        raise RefusedError(409, f"{attempt.job_name} is stopping already, and {then}.")
    return f"{attempt.job_name} is stopping already."


def _check_is_of(sagemaker: Any, arn: str, viewed: Viewed, instead: str) -> None:
    """
    Check by its tags that a job is of the task instance that the viewer may edit.

    Its name comes from an XCom, which others may edit: with it alone, they could stop the jobs of anybody.
    """
    from airflow_spot.aws.marks import Marks
    from airflow_spot.core.identity import RunIdentity
    from airflow_spot.core.marks import TAG_OWNER, run_tags, tag_map

    tags = Marks(lambda: sagemaker).read(arn)
    if tags is None:
        raise RefusedError(409, f"sagemaker:ListTags is needed, to see whose training job it is.{instead}")
    run = RunIdentity("", viewed.dag_id, viewed.run_id, viewed.task_id, viewed.map_index)
    ours = {key: value for key, value in tag_map(run_tags(run, 0)).items() if key != TAG_OWNER}
    if any(tags.get(key) != value for key, value in ours.items()):
        raise RefusedError(403, "That training job is not of this task instance.")


def _client(region: str) -> Any:
    import boto3
    from botocore.config import Config

    config_ = Config(connect_timeout=5, read_timeout=20, retries={"mode": "standard", "total_max_attempts": 3})
    session: Any = boto3.Session(region_name=region)
    return session.client("sagemaker", config=config_)
