"""A job that something else started for this run, such as the stock operator before its import was changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow_spot.compat.dag_runs import not_before
from airflow_spot.core.history import is_started_over
from airflow_spot.core.identity import JobName
from airflow_spot.core.marks import TAG_DELIVERED, TAG_OWNER, TAG_STOP, StopMark
from airflow_spot.core.outcomes import ENDED_STATUSES, Outcome, classify
from airflow_spot.core.run_state import RunState, WatchedJob
from airflow_spot.core.secrets.redaction import redact
from airflow_spot.core.stop_reasons import StopReason
from airflow_spot.core.try_marks import TryMark
from airflow_spot.errors import RequestError, StoppedExternallyError, error_for
from airflow_spot.runs.claiming import claim, claims_in
from airflow_spot.runs.state import Deferral
from airflow_spot.runs.transitions import TransitionLog

if TYPE_CHECKING:
    from airflow_spot.compat.sdk import Context
    from airflow_spot.runs.controller import TrainingRun
    from airflow_spot.runs.staging import InputStager


@dataclass(frozen=True)
class Adoption:
    """
    Takes a job over for a run that has no job of its own yet.

    One run takes a job over, ever: a tag on the job says which, and without it none does. A job that ended before the
    DAG run could begin is another run's, and is left alone.

    :param job_name: the job.
    :param stager: told of its checkpoints, for the run's first own job.
    :param not_before: when the DAG run could begin at the earliest; None where nothing says.
    :param waited: what a wait of this try for it kept; None where there was none.
    """

    run: TrainingRun
    job_name: str
    stager: InputStager
    not_before: datetime | None = None
    waited: RunState | None = None

    @classmethod
    def of(
        cls, run: TrainingRun, job_name: str, stager: InputStager, context: Context, waited: RunState | None
    ) -> Adoption:
        """Make it for a try."""
        return cls(run, job_name, stager, not_before(context.get("dag_run")), waited)

    def carry(self, *, to_the_end: bool = True) -> Mapping[str, Any] | None:
        """
        Wait for the job to end.

        :param to_the_end: False returns the description of one that trains.
        :return: the job's description, if it completed: its result is the run's. None where the run has to train
            itself: then its first job begins with this one's checkpoints, if it has any.
        :raises Deferral: the triggerer is to wait.
        :raises RequestError: there is no such job, or its tags may not be set or read.
        :raises SpotTrainingError: another run wants the job too, and does not continue.
        :raises StoppedExternallyError: somebody stopped it while this task waited.
        """
        run = self.run
        if run.history.attempts or run.history.generation > 1 or run.history.refusals:
            return None
        if not to_the_end:
            run.options = replace(run.options, deferrable=False)
        taken = self._taken()
        if taken is None:
            return None
        description, restarts = taken.description, self._restarts(taken)
        waited = self.waited is not None
        if not taken.over:
            self._attach(taken, restarts=restarts)
            if not to_the_end and not restarts:
                run.log.info("Not waiting for completion: training job %s keeps running", self.job_name)
                return description
            description, waited = self._ended(description, restarts=restarts), True
            run.stopping.forget(self.job_name)
        if restarts:
            self._tell_restart(description)
            return None
        return self._judge(description, waited=waited)

    def _taken(self) -> _Taken | None:
        """Return the job if it is this run's, or can be made so."""
        run = self.run
        if JobName.parse(self.job_name) is not None:
            raise RequestError(
                f"adopt_job is {self.job_name!r}: a job of this operator's, which its own task continues with. Nothing "
                "was sent to SageMaker"
            )
        description = run.hook.find(self.job_name)
        if description is None and self.waited is not None:
            raise self._deleted()
        if description is None:
            raise RequestError(
                f"adopt_job is {self.job_name!r}: there is no such training job. Correct the name, or remove it. "
                "Nothing was sent to SageMaker"
            )
        arn, key = description["TrainingJobArn"], run.plan.run.key
        ended = description["TrainingJobStatus"] in ENDED_STATUSES
        tags = run.hook.marks.read(arn)
        if tags is None and self.waited is not None:
            return _Taken(description, {}, None)  # it was this run's when the wait began
        claims = claims_in(run, self.job_name, tags)
        if claims.owner is None and ended:
            created = description.get("CreationTime")
            if self.not_before is None or created is None or created < self.not_before:
                run.log.info("Training job %s ended before this DAG run: not adopted", self.job_name)
                return None
        owner = claims.owner or claim(run, self.job_name, arn)
        if owner != key:
            run.log.info("Training job %s was already adopted by run %s", self.job_name, owner)
            return None
        delivered = TryMark.parse((tags or {}).get(TAG_DELIVERED))
        if (
            ended
            and delivered is not None
            and run.this_try.is_restart_since(delivered, description.get("TrainingEndTime"))
        ):
            run.log.info("Training job %s was adopted by this run before it was cleared: not used again", self.job_name)
            return None
        return _Taken(description, tags or {}, claims.ours if claims.owner else None)

    def _restarts(self, taken: _Taken) -> bool:
        """Return whether a person had the run start over since the job was taken over, and from scratch."""
        if self.waited is not None:
            return self.waited.restart_requested
        ends = taken.description["TrainingJobStatus"] != "InProgress"
        ended = taken.description.get("TrainingEndTime")
        stop = taken.stop if ends else None
        return not self.run.options.resume and is_started_over(self.run.this_try, taken.by, ended, stop)

    def _attach(self, taken: _Taken, *, restarts: bool) -> None:
        """Answer for the job while it trains: wait for it, or stop it where the run is to train from scratch."""
        run, arn = self.run, taken.description["TrainingJobArn"]
        trains = taken.description["TrainingJobStatus"] == "InProgress"
        run.stopping.watch(self.job_name)
        theirs = taken.tags.get(TAG_OWNER, "")
        if self.waited is not None and theirs.isdecimal() and int(theirs) > run.this_try.number:
            run.log.warning("Job is owned by newer try %s; not taking ownership", theirs)
        else:
            run.hook.marks.set_owner(arn, run.this_try)
            if trains and not restarts and taken.stop is not None and not taken.stop.withdrawn:
                run.hook.marks.revoke_stop(self.job_name, arn, taken.stop, run.this_try.number)
        if not restarts:
            run.log.info("Adopted training job %s; waiting for it", self.job_name)
        elif trains:
            why = "the task was cleared to train from scratch"
            skipped = run.stopping.stop(self.job_name, StopReason.RESTART)
            run.stopping.report(self.job_name, StopReason.RESTART, why, skipped)
            if skipped is not None:
                raise error_for(None)(f"{why}; training job {self.job_name}: {skipped}")

    def _tell_restart(self, description: Mapping[str, Any]) -> None:
        run = self.run
        run.log.info("The task was cleared to train from scratch: nothing of training job %s is used", self.job_name)
        folder = str((description.get("CheckpointConfig") or {}).get("S3Uri") or "").rstrip("/")
        if folder and folder == (run.plan.checkpoint_s3_uri(run.history.generation) or "").rstrip("/"):
            run.log.warning(
                'checkpoint_scope="exact": it resumes from what is in %s, unless you empty that folder', folder
            )

    def _ended(self, description: dict[str, Any], *, restarts: bool) -> dict[str, Any]:
        """Wait in the worker, or have the triggerer wait."""
        run, until = self.run, self.run.limits.give_up_at
        keeps = bool(description.get("CheckpointConfig"))
        story = TransitionLog(run.hook, run.tell, run.log, print_log=False)
        output = run.hook.job_log(self.job_name) if run.options.print_log else None
        while True:
            found = story.look(self.job_name, keeps_checkpoints=keeps)
            if found is None:
                raise self._deleted()
            if output is not None:
                story.show(self.job_name, output.new_lines())
            if found.ended:
                return dict(found.description)
            if until is not None and run.now() >= until:
                run.stop_and_wait(StopReason.TIMEOUT)
                raise error_for(None)(f"The task's time is up while training job {self.job_name} trains")
            if run.options.defers(run.now()):
                watched = WatchedJob(self.job_name, story.seen(self.job_name), keeps_checkpoints=keeps)
                space = run.plan.run.namespace
                state = RunState.of(run.history, run.this_try, space, (self.job_name,), until, run.stopping.stopped)
                raise Deferral((watched,), until, replace(state, restart_requested=restarts))
            run.pause(run.options.check_interval, until)

    def _deleted(self) -> StoppedExternallyError:
        return StoppedExternallyError(
            f"Training job {self.job_name}, which this task had adopted, was deleted while it waited for it. Remove "
            "adopt_job, and clear the task to train from the beginning"
        )

    def _judge(self, description: Mapping[str, Any], *, waited: bool) -> Mapping[str, Any] | None:
        run = self.run
        mark = StopMark.parse(run.hook.marks.tags(description["TrainingJobArn"]).get(TAG_STOP))
        outcome = classify(description, stop_reason=mark.reason if mark and not mark.withdrawn else None)
        if outcome is Outcome.COMPLETED:
            return description
        if outcome is Outcome.STOPPED_EXTERNALLY and waited:
            raise StoppedExternallyError(
                f"Training job {self.job_name}, which this task had adopted, was stopped by somebody. Clear the "
                "task to resume from its checkpoints"
            )
        reason = redact(str(description.get("FailureReason") or ""), description)
        folder = (description.get("CheckpointConfig") or {}).get("S3Uri")
        seeds = folder and run.plan.checkpoint_base is not None
        why_not = "use_checkpoints=False" if folder else "it kept no checkpoints"
        run.log.warning(
            "Adopted training job %s ended: %s%s; training continues %s",
            self.job_name,
            outcome.label if outcome else description["TrainingJobStatus"],
            f" ({reason})" if reason else "",
            f"from its checkpoints in {folder}" if seeds else f"from nothing: {why_not}",
        )
        if seeds:
            self.stager.seed_from(str(folder))
        return None


@dataclass(frozen=True)
class _Taken:
    """
    A job that is this run's.

    :param by: the try that took it over before; None where none did, or that is not known.
    """

    description: dict[str, Any]
    tags: Mapping[str, str]
    by: TryMark | None

    @property
    def over(self) -> bool:
        return self.description["TrainingJobStatus"] in ENDED_STATUSES

    @property
    def stop(self) -> StopMark | None:
        return StopMark.parse(self.tags.get(TAG_STOP))
