"""One try of a task, from its rendered parameters to its result. Imported when a task runs, not with its DAG."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from airflow_spot.compat.sdk import AirflowException, Context
from airflow_spot.core.durations import human
from airflow_spot.core.findings import unpack
from airflow_spot.core.identity import JobName
from airflow_spot.core.locations import is_loopback
from airflow_spot.core.log_messages import result_line
from airflow_spot.core.result import build_result
from airflow_spot.core.run_state import RunState
from airflow_spot.core.sentences import sentences
from airflow_spot.core.stop_reasons import StopReason
from airflow_spot.errors import NonRetryableSpotError, RequestError, RunKilledError, SpotTrainingError
from airflow_spot.operators._run_maker import Made, make_run
from airflow_spot.runs.adoption import Adoption
from airflow_spot.runs.blind_triggerer import POLL_SECONDS, blind_triggerer
from airflow_spot.runs.controller import TrainingRun
from airflow_spot.runs.delivery import deliver
from airflow_spot.runs.non_retryable import non_retryable_end
from airflow_spot.runs.reaper_notice import warn_without_reaper
from airflow_spot.runs.startup import StartupGuard
from airflow_spot.runs.state import Deferral
from airflow_spot.triggers.training import SageMakerSpotTrainingTrigger


class TaskTry:
    """
    One try of a task, in a worker: until it has a result, has failed, or waits in the triggerer.

    :param operator: a ``SageMakerSpotTrainingOperator``, rendered. Its ``_run`` is what a kill by Airflow stops.
    """

    def __init__(self, operator: Any, context: Context) -> None:
        self._operator = operator
        self._context = context

    def start(self, waited: RunState | None = None, event: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """
        Begin the try.

        :param waited: what a deferral kept of a wait for an adopted job.
        :param event: the trigger's, after that wait.
        :return: the task's result.
        """
        guard = StartupGuard.of(self._operator, self._context, waited)
        made = self._make(guard, None, waited)
        if not is_loopback(urlsplit(self._operator.hook.endpoint_url).hostname or ""):
            warn_without_reaper(datetime.now(timezone.utc), self._operator.log)
        self._poll_if_blind(made.run, event or {})
        adoption = None
        if made.parameters.adopt_job is not None:
            adoption = Adoption.of(made.run, made.parameters.adopt_job, made.stager, self._context, waited)
        return self._carry(made, made.run.begin, adoption, to_the_end=made.parameters.wait_for_completion)

    def resume(self, state: RunState, event: Mapping[str, Any]) -> dict[str, Any]:
        """
        Continue the try after a deferral.

        :param state: what the deferral kept.
        :param event: the trigger's.
        :return: the task's result.
        """
        if any(JobName.parse(job) is None for job in state.jobs):  # it was adopted, and the run has none of its own
            return self.start(state, event)
        guard = StartupGuard.of(self._operator, self._context, state, state.deadline)
        made = self._make(guard, state, state)
        self._poll_if_blind(made.run, event)
        quota_available = event.get("status") == "quota_available"
        told = unpack(event.get("told"))
        return self._carry(made, partial(made.run.resume, state, quota_available=quota_available, told=told))

    def _make(self, guard: StartupGuard, state: RunState | None, waited: RunState | None) -> Made:
        """Make the run, with what it has live answered for meanwhile."""
        operator = self._operator
        operator._run = guard
        with guard.protect(killed=operator._killed, unrendered=operator._render_error):
            made = make_run(operator, self._context, guard.run, state, waited)
            operator._run = made.run
        return made

    def _carry(
        self,
        made: Made,
        enter: Callable[[], None],
        adoption: Adoption | None = None,
        *,
        to_the_end: bool = True,
    ) -> dict[str, Any]:
        operator, run = self._operator, made.run
        try:
            enter()
            made.ledger.write()
            description = self._train(made, adoption, to_the_end=to_the_end)
            returned = self._hand_over(made, description, to_the_end=to_the_end)
        except Deferral as wait:
            self._defer(made, wait)
        except SpotTrainingError as error:
            # Decided, mostly with no job live: but one may be left alone, not to be seen, or not told to stop.
            run.stopping.release_or_stop(final=isinstance(error, (NonRetryableSpotError, RunKilledError)))
            if operator._killed:
                run.close("killed by Airflow", killed=True)
            if operator._killed or not isinstance(error, RunKilledError):  # else a later try has the run, and its page
                self._write_failure(made, error)
            raise
        except Exception as error:
            refusal = non_retryable_end(run, error)
            disposition = run.stopping.release_or_stop(final=refusal is not None)
            if refusal is not None:
                refused = RequestError(sentences(refusal, disposition))
                self._write_failure(made, refused)
                raise refused from None
            self._write_failure(made, error)
            raise
        except BaseException as error:  # Airflow's timeout, and on Airflow 2 its kill
            killed = operator._killed
            run.stop_and_wait(StopReason.KILLED if killed else StopReason.TIMEOUT)
            run.close("killed by Airflow" if killed else "the task's time is up", killed=killed)
            self._write_failure(made, error)
            raise
        # What is left running is to live, though Airflow ends the process while it keeps the result.
        operator._run = None
        return returned

    def _train(self, made: Made, adoption: Adoption | None, *, to_the_end: bool) -> Mapping[str, Any]:
        try:
            description = adoption.carry(to_the_end=to_the_end) if adoption is not None else None
            if description is None:
                description = made.run.run()[0] if to_the_end else made.run.submit_only()
        except Deferral:
            # Not later: a timeout in the middle of this has to stop the job, as anywhere in a try.
            made.ledger.write()
            raise
        return description

    def _hand_over(self, made: Made, description: Mapping[str, Any], *, to_the_end: bool) -> dict[str, Any]:
        """Return the task's result, and mark its job as delivered."""
        operator, run = self._operator, made.run
        placed = deliver(run, made.parameters, description) if to_the_end else None
        result = build_result(description, run.history, run.plan.run.key, run.now(), run.prices, placed)
        operator._trained = result["Training"]
        if to_the_end:
            # The link leads to where the model was copied to, else to where SageMaker put it.
            model = (description.get("ModelArtifacts") or {}).get("S3ModelArtifacts")
            made.links.model(str(description["TrainingJobName"]), placed or model)
            operator.log.info(
                "%s",
                result_line(
                    str(description["TrainingJobName"]),
                    operator.task_id,
                    run.plan.run.map_index,
                    model="model_artifacts" if placed is None else "model_s3_uri",
                    kept=operator.do_xcom_push,
                    key=operator._facts_key,
                ),
            )
        returned: dict[str, Any] = operator._to_return(self._context, run, description, result, ended=to_the_end)
        made.ledger.succeeded(result["Spot"]["model_s3_uri"] or result["Spot"]["model_artifacts"], ended=to_the_end)
        # The last call: a worker that is lost after it has a result that Airflow has not, and a clear trains again.
        run.mark_delivered(description)
        made.metrics.delivered()
        return returned

    def _write_failure(self, made: Made, error: BaseException) -> None:
        made.ledger.failed(error, killed=self._operator._killed or isinstance(error, RunKilledError))

    def _poll_if_blind(self, run: TrainingRun, event: Mapping[str, Any]) -> None:
        """Poll in the worker for a while where the triggerer is denied."""
        why = blind_triggerer(event, self._operator.hook.find)
        if why is not None:
            self._operator.log.warning("%s; polling in the worker for %s", why, human(POLL_SECONDS))
            run.options = replace(run.options, poll_until=run.now() + timedelta(seconds=POLL_SECONDS))

    def _defer(self, made: Made, wait: Deferral) -> None:
        # Also of a wait for an adopted job: AWS may not answer when the task goes on.
        run_state = replace(wait.run_state, timeline=made.ledger.carried(), types=made.types, prices=made.run.prices)
        try:
            self._defer_to(made.run, wait, run_state)
        except RunKilledError as error:  # a user was faster
            self._write_failure(made, error)
            raise

    def _defer_to(self, run: TrainingRun, wait: Deferral, run_state: RunState) -> None:
        operator = self._operator
        operator.defer(
            trigger=SageMakerSpotTrainingTrigger(
                jobs=[job.to_json() for job in wait.jobs],
                until=wait.until.timestamp() if wait.until else None,
                quota_key=wait.quota_key or str(run.history.live.rung if run.history.live else ""),
                run_state=run_state.to_json(),
                run_key=run.plan.run.key,
                poll_interval=run.options.check_interval,
                events_queue_url=run.options.events_queue_url,
                stop_on_kill=run.options.stop_on_kill,
                try_number=run.this_try.number,
                aws_conn_id=operator.aws_conn_id,
                region_name=operator.region_name,
                verify=operator.verify,
                botocore_config=operator.botocore_config,
            ),
            method_name="execute_complete",
        )


def state_of(event: Mapping[str, Any] | None) -> RunState:
    """
    Return what the deferral kept that a trigger's event ends.

    :raises AirflowException: the event is another trigger's.
    """
    try:
        return RunState.from_json((event or {}).get("run_state") or {})
    except ValueError as error:
        raise AirflowException(f"The trigger's event is not one of SageMakerSpotTrainingTrigger ({error})") from None
