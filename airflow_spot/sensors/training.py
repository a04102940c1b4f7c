"""Wait for a training job that something else created."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from airflow.configuration import conf
from airflow.providers.amazon.aws.sensors.base_aws import AwsBaseSensor
from airflow.providers.amazon.aws.utils.mixins import aws_template_fields

from airflow_spot import config as settings
from airflow_spot.compat.sdk import (
    AirflowException,
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    PokeReturnValue,
)
from airflow_spot.core.events import Transitioned
from airflow_spot.core.log_messages import label_of
from airflow_spot.core.marks import TAG_STOP, StopMark
from airflow_spot.core.outcomes import Outcome, classify, count_interruptions
from airflow_spot.core.result import without_secrets
from airflow_spot.core.run_state import WatchedJob
from airflow_spot.core.secrets.redaction import redact
from airflow_spot.errors import RequestError, error_for
from airflow_spot.hooks.training import SageMakerSpotTrainingHook
from airflow_spot.observers import log_observer
from airflow_spot.watch.observe import look

if TYPE_CHECKING:
    from airflow_spot.compat.sdk import Context


class SageMakerSpotTrainingSensor(AwsBaseSensor[SageMakerSpotTrainingHook]):
    """
    Wait until a training job has completed; fail as :class:`SageMakerSpotTrainingOperator` would if it does not.

    It waits for one job, by name, and starts or stops none: a job stopped at MaxWaitTime is a failure here.
    Works in the modes poke and reschedule, and deferrable.

    :param job_name: the training job (templated).
    :param deferrable: wait in the triggerer.
    :param events_queue_url: as for the operator (templated).
    :param aws_conn_id: and ``region_name``, ``verify``, ``botocore_config``: as for every Amazon sensor.
    :return: ``{"Training": <the job's description>}`` without hyperparameters and environment.
    """

    aws_hook_class = SageMakerSpotTrainingHook
    template_fields: Sequence[str] = aws_template_fields("job_name", "events_queue_url")
    ui_color: str = "#d6ecd2"

    def __init__(
        self,
        *,
        job_name: str,
        events_queue_url: str | None = None,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.job_name = job_name
        self.events_queue_url = events_queue_url
        self.deferrable = deferrable
        self._seen = 0

    def execute(self, context: Context) -> Any:
        """Wait, in a worker or in the triggerer."""
        if not self.deferrable:
            return super().execute(context)
        try:
            found = self.poke(context)
        except Exception as error:
            # As the base class does, which is not asked here.
            if self.never_fail or (self.soft_fail and isinstance(error, AirflowFailException)):
                raise AirflowSkipException(str(error)) from error
            raise
        if found.is_done:
            return found.xcom_value
        from airflow_spot.triggers.training import SageMakerSpotTrainingTrigger

        limit = datetime.now(timezone.utc) + timedelta(seconds=self.timeout)
        self.defer(
            trigger=SageMakerSpotTrainingTrigger(
                jobs=[WatchedJob(self.job_name, self._seen).to_json()],
                until=limit.timestamp(),
                poll_interval=self.poke_interval,
                events_queue_url=settings.events_queue_url(self.events_queue_url),
                run_state={"seen": self._seen},
                stop_on_kill=False,  # the job is not ours to stop
                aws_conn_id=self.aws_conn_id,
                region_name=self.region_name,
                verify=self.verify,
                botocore_config=self.botocore_config,
            ),
            method_name="execute_complete",
        )

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> Any:
        """Judge the job where the trigger fired."""
        # What the trigger told is told again: its lines may be lost.
        self._seen = int(((event or {}).get("run_state") or {}).get("seen", 0))
        found = self.poke(context)
        if found.is_done:
            return found.xcom_value
        if (event or {}).get("status") == "timeout":
            raise AirflowSensorTimeout(f"Training job {self.job_name} has not ended within {self.timeout:g} s")
        raise AirflowException(f"Cannot wait for training job {self.job_name}: {event}")

    def poke(self, context: Context) -> PokeReturnValue:
        """Look at the job once."""
        found = look(self.hook.find, self.job_name, self._seen)
        if found is None:
            raise RequestError(f"There is no training job {self.job_name}")
        observe = log_observer(self.log)
        for transition in found.new:
            observe(Transitioned.of(self.job_name, label_of(self.job_name), transition))
        self._seen = found.seen
        if not found.ended:
            return PokeReturnValue(is_done=False)
        self._judge(found.description)
        return PokeReturnValue(is_done=True, xcom_value={"Training": without_secrets(found.description)})

    def _judge(self, description: Mapping[str, Any]) -> None:
        mark = StopMark.parse(self.hook.marks.tags(description["TrainingJobArn"]).get(TAG_STOP))
        outcome = classify(description, stop_reason=mark.reason if mark and not mark.withdrawn else None)
        interruptions = count_interruptions(description.get("SecondaryStatusTransitions") or ())
        label = outcome.label if outcome else "in progress"
        self.log.info("Training job %s: %s, interrupted %d times", self.job_name, label, interruptions)
        if outcome is not Outcome.COMPLETED:
            reason = redact(str(description.get("FailureReason") or ""), description)
            raise error_for(outcome)(
                f"Training job {self.job_name} ({label})" + (f": SageMaker says: {reason}" if reason else "")
            )
