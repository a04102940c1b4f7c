"""Wait for a checkpoint of a training job, or find out that none comes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from airflow.configuration import conf
from airflow.providers.amazon.aws.sensors.base_aws import AwsBaseSensor
from airflow.providers.amazon.aws.utils.mixins import aws_template_fields

from airflow_spot import config as settings
from airflow_spot.aws.checkpoint_store import look_at
from airflow_spot.compat.sdk import (
    AirflowException,
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    PokeReturnValue,
)
from airflow_spot.core.checkpoint_wait import CheckpointWait, Verdict, read_moment
from airflow_spot.core.durations import human, seconds
from airflow_spot.core.locations import check_s3_uri
from airflow_spot.core.outcomes import ENDED_STATUSES
from airflow_spot.core.parameter_errors import InvalidParameterError
from airflow_spot.core.progress import HOW_TO_CHECKPOINT
from airflow_spot.core.starts import read_starts
from airflow_spot.core.templates import gives_nothing, is_template
from airflow_spot.errors import NoProgressError, RequestError
from airflow_spot.hooks.training import SageMakerSpotTrainingHook

if TYPE_CHECKING:
    from airflow_spot.compat.sdk import Context


class SageMakerCheckpointSensor(AwsBaseSensor[SageMakerSpotTrainingHook]):
    """
    Wait until a training job has written a checkpoint; fail or warn where it trains for long and writes none.

    It starts and stops nothing, and works for any training job with a CheckpointConfig, in the modes poke and
    reschedule, and deferrable. What counts as a checkpoint is what counts for the operator: see
    ``docs/checkpoints.md``.

    :param job_name: the training job (templated). Without one, ``checkpoint_s3_uri`` alone is looked at.
    :param checkpoint_s3_uri: the folder (templated). Default: the job's.
    :param newer_than: the checkpoint has to be written after it: a ``datetime`` or ISO 8601 text (templated). Default:
        when the job was created; without a job, any checkpoint.
    :param stale_after: how long the job may train without writing one: seconds, a ``timedelta``, or text such as
        ``"2h"`` (templated). Default: any time.
    :param on_stale: what happens then: ``"fail"`` (default), or ``"warn"`` and wait on: once, in mode reschedule at
        each poke.
    :param deferrable: wait in the triggerer.
    :param events_queue_url: as for the operator (templated).
    :param aws_conn_id: and ``region_name``, ``verify``, ``botocore_config``: as for every Amazon sensor.
    :return: ``{"checkpoint_s3_uri", "written"}``: the folder, and when the newest checkpoint was written.
    """

    aws_hook_class = SageMakerSpotTrainingHook
    template_fields: Sequence[str] = aws_template_fields(
        "job_name", "checkpoint_s3_uri", "newer_than", "stale_after", "events_queue_url"
    )
    ui_color: str = "#d6ecd2"

    def __init__(
        self,
        *,
        job_name: str | None = None,
        checkpoint_s3_uri: str | None = None,
        newer_than: datetime | str | None = None,
        stale_after: int | str | timedelta | None = None,
        on_stale: str = "fail",
        events_queue_url: str | None = None,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.job_name = job_name
        self.checkpoint_s3_uri = checkpoint_s3_uri
        self.newer_than = newer_than
        self.stale_after = stale_after
        self.on_stale = on_stale
        self.events_queue_url = events_queue_url
        self.deferrable = deferrable
        self._warned = False
        if on_stale not in ("fail", "warn"):
            raise InvalidParameterError("on_stale", on_stale, 'must be "fail" or "warn"')
        if job_name is None and checkpoint_s3_uri is None:
            raise InvalidParameterError("job_name", None, "name a training job, or a folder as checkpoint_s3_uri")
        if job_name is None and stale_after is not None:
            raise InvalidParameterError("stale_after", stale_after, "needs job_name: whether it trains is the job's")
        if stale_after is not None and not is_template(stale_after):
            seconds("stale_after", stale_after)
        if newer_than is not None and not is_template(newer_than):
            read_moment("newer_than", newer_than)

    def execute(self, context: Context) -> Any:
        """Wait, in a worker or in the triggerer."""
        if not self.deferrable:
            return super().execute(context)
        until = datetime.now(timezone.utc) + timedelta(seconds=self.timeout)
        try:
            return self._poke_or_defer(until.timestamp())
        except AirflowException as error:
            # As the base class does, which is not asked here.
            if self.never_fail or (self.soft_fail and isinstance(error, AirflowFailException)):
                raise AirflowSkipException(str(error)) from error
            raise

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> Any:
        """Judge where the trigger fired."""
        event = event or {}
        state = event.get("state") or {}
        self._warned = bool(state.get("warned"))
        if event.get("status") == "access_denied":
            raise AirflowException(f"Cannot describe training job {self.job_name}: access denied")
        return self._poke_or_defer(float(state.get("until") or 0.0))

    def poke(self, context: Context) -> PokeReturnValue:
        """Look once."""
        _, uri, done = self._look()
        if done is not None:
            return PokeReturnValue(is_done=True, xcom_value={"checkpoint_s3_uri": uri, "written": done.isoformat()})
        return PokeReturnValue(is_done=False)

    def _poke_or_defer(self, until: float) -> Any:
        wait, uri, done = self._look()
        if done is not None:
            return {"checkpoint_s3_uri": uri, "written": done.isoformat()}
        if datetime.now(timezone.utc).timestamp() >= until:
            raise AirflowSensorTimeout(f"No checkpoint was written to {uri} within {self.timeout:g} s")
        from airflow_spot.triggers.checkpoints import SageMakerCheckpointTrigger

        self.defer(
            trigger=SageMakerCheckpointTrigger(
                uri=uri,
                job_name=None if gives_nothing(self.job_name) else self.job_name,
                newer_than=wait.newer_than.timestamp() if wait.newer_than else None,
                stale_after=None if self._warned else wait.stale_after,
                until=until,
                state={"until": until, "warned": self._warned},
                poll_interval=self.poke_interval,
                events_queue_url=settings.events_queue_url(self.events_queue_url),
                aws_conn_id=self.aws_conn_id,
                region_name=self.region_name,
                verify=self.verify,
                botocore_config=self.botocore_config,
            ),
            method_name="execute_complete",
        )

    def _look(self) -> tuple[CheckpointWait, str, datetime | None]:
        """
        Look at the job and its folder once.

        :return: what is waited for, the folder, and when the checkpoint was written that was waited for; None while it
            was not.
        :raises NoProgressError: the job has ended without one, or trains for too long without.
        """
        description = self._describe()
        given = None if gives_nothing(self.checkpoint_s3_uri) else self.checkpoint_s3_uri
        uri = given or str((description.get("CheckpointConfig") or {}).get("S3Uri") or "")
        if not uri:
            raise RequestError(f"Training job {self.job_name} keeps no checkpoints: it has no CheckpointConfig")
        check_s3_uri("checkpoint_s3_uri", uri)
        created = description.get("CreationTime")
        newer = created if gives_nothing(self.newer_than) else read_moment("newer_than", self.newer_than)
        stale = None if gives_nothing(self.stale_after) else seconds("stale_after", self.stale_after)
        wait = CheckpointWait(newer, stale)
        ended = description.get("TrainingJobStatus") in ENDED_STATUSES
        moment = datetime.now(timezone.utc) + timedelta(seconds=self.hook.clock.offset)
        look = look_at(self.hook.s3_hook.get_conn, uri, moment)
        starts = read_starts(description) if description else ()
        verdict = wait.judge(look, starts, moment, ended=ended)
        if verdict is Verdict.NOT_SEEN:
            raise AirflowException(f"Checkpoints in {uri} cannot be seen ({look.problem})")
        if verdict is Verdict.WRITTEN:
            written = max(look.objects.values())
            self.log.info("The newest checkpoint in %s is of %s", uri, written.isoformat())
            return wait, uri, written
        if verdict is Verdict.ENDED:
            status = description.get("TrainingJobStatus")
            named = ", but files with the names of half-written ones, such as *.part" if look.doubtful else ""
            raise NoProgressError(
                f"Training job {self.job_name} has ended ({status}), and wrote no checkpoint to {uri}{named}"
            )
        if verdict is Verdict.STALE and not self._warned:
            why = f"Training job {self.job_name} has trained for {human(stale or 0)} and written no checkpoint to {uri}"
            if self.on_stale == "fail":
                raise NoProgressError(f"{why}. {HOW_TO_CHECKPOINT}")
            self.log.warning("%s. %s", why, HOW_TO_CHECKPOINT)
            self._warned = True
        return wait, uri, None

    def _describe(self) -> dict[str, Any]:
        if self.job_name is None or gives_nothing(self.job_name):
            if gives_nothing(self.checkpoint_s3_uri):
                raise RequestError("job_name renders to nothing: name a training job, or a folder as checkpoint_s3_uri")
            return {}
        found = self.hook.find(self.job_name)
        if found is None:
            raise RequestError(f"There is no training job {self.job_name}")
        return found
