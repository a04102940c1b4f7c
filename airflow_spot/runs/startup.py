"""The first moments of a try, before its run is made: what its run has live is answered for all the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from airflow_spot import config as settings
from airflow_spot.aws.retrying import ENDING_SECONDS, summarize_error
from airflow_spot.compat.sdk import AirflowFailException
from airflow_spot.core.attempt import Attempt
from airflow_spot.core.events import Event
from airflow_spot.core.identity import RunIdentity, default_name, legal_prefix
from airflow_spot.core.parameter_errors import InvalidParameterError
from airflow_spot.core.plan import Plan
from airflow_spot.core.run_state import RunState
from airflow_spot.core.sentences import sentences
from airflow_spot.core.stop_reasons import StopReason
from airflow_spot.core.try_marks import TryMark
from airflow_spot.errors import RenderError, RequestError, RunKilledError
from airflow_spot.observers import Log, observers
from airflow_spot.runs.namespace import namespace_for
from airflow_spot.runs.non_retryable import is_lasting, non_retryable_reason
from airflow_spot.runs.stopping import JobStopper, interruptible_sleep
from airflow_spot.runs.task_context import identity_of, try_of

if TYPE_CHECKING:
    from airflow_spot.compat.sdk import Context
    from airflow_spot.hooks.training import SageMakerSpotTrainingHook


#: What a run was permitted that has a job, or has had a try before this one.
PERMITTED = ("describe_training_job", "create_training_job")


class StartupGuard:
    """
    Answers for a run's live job while a try reads its configuration.

    A DAG or a Variable may be edited while a job trains: the try that comes back to it then has no plan, and the job
    would keep training with nobody waiting for it.

    :param name: what the jobs' names begin with, as far as it is known: a list may lag or be denied.
    :param jobs: what the try has waited for, if it continues after a deferral. Else the run's jobs are looked for.
    :param resumes: it continues after a deferral. A try that begins takes over what it finds, unless it was superseded.
    :param stop_on_kill: what the task says; None for the configuration's word.
    :param give_up_at: until when calls that fail in passing are repeated; None for ever.
    """

    def __init__(
        self,
        hook: SageMakerSpotTrainingHook,
        run: RunIdentity,
        this_try: TryMark,
        *,
        name: str,
        jobs: Sequence[str],
        resumes: bool,
        stop_on_kill: bool | None,
        give_up_at: datetime | None,
        log: Log,
    ) -> None:
        self._hook = hook
        self.run = run
        self._try = this_try
        self._name = name
        self._jobs = tuple(jobs)
        self._resumes = resumes
        self._log = log
        self._killed = False
        self._found: Attempt | None = None
        try:
            self._stopping = JobStopper(
                hook,
                this_try,
                stop_on_kill=_stop_on_kill(stop_on_kill),
                checkpoints=self._checkpoints,
                observe=self._tell,
                log=log,
            )
        except Exception as error:  # without a connection there is nothing else to be done
            for job in jobs:
                log.warning(
                    "Could not reach AWS (%s); training job %s may still be running", summarize_error(error), job
                )
            raise
        self._stopping.watch(*jobs)
        hook.remember_ended()
        hook.enable_retries(
            self._sleep,
            give_up_at.timestamp() if give_up_at else None,
            permitted=PERMITTED if resumes or this_try.number > 1 else (),
        )

    @classmethod
    def of(
        cls,
        operator: Any,
        context: Context,
        state: RunState | None = None,
        give_up_at: datetime | None = None,
    ) -> StartupGuard:
        """Make it for a task's try; ``state`` is what a deferral kept, None where the try begins."""
        named = operator.config.get("TrainingJobName") if isinstance(operator.config, dict) else None
        return cls(
            operator.hook,
            identity_of(
                context, (state.namespace if state else "") or namespace_for(lambda: operator.hook.endpoint_url)
            ),
            try_of(context, operator.retries),
            name=str(named or operator.task_id),
            jobs=state.jobs if state is not None else (),
            resumes=state is not None,
            stop_on_kill=operator.stop_on_kill,
            give_up_at=give_up_at,
            log=operator.log,
        )

    def kill(self) -> None:
        """Handle a kill by Airflow: stop the known jobs, in a signal handler; the rest ends :meth:`protect`."""
        self._killed = True
        self._stopping.kill()

    @contextmanager
    def protect(self, *, killed: bool = False, unrendered: RenderError | None = None) -> Iterator[None]:
        """
        See to what is live where the block fails; the error continues, and says what became of it.

        :param killed: whether the task was killed before.
        :param unrendered: a template's error: the block is not entered.
        :raises RequestError: a field is wrong, or a call is not permitted.
        :raises RenderError: a template could not be rendered.
        :raises RunKilledError: the task was killed.
        """
        try:
            self._killed = self._killed or killed
            self._check_alive()
            if unrendered is not None:
                raise unrendered from unrendered.error
            yield
            self._check_alive()
        except (InvalidParameterError, ClientError) as error:
            refusal = non_retryable_reason(error)
            disposition = self._handle_live_jobs(lambda: self._stopping.release_or_stop(final=refusal is not None))
            if refusal is None:
                raise
            raise RequestError(sentences(refusal, disposition or "Nothing was sent to SageMaker")) from None
        except Exception as error:
            final = isinstance(error, (AirflowFailException, RunKilledError))
            if isinstance(error, RenderError):
                final = is_lasting(error.error)
            self._handle_live_jobs(lambda: self._stopping.release_or_stop(final=final))
            raise
        except BaseException:  # Airflow's timeout, and on Airflow 2 its kill
            reason = StopReason.KILLED if self._killed else StopReason.TIMEOUT
            self._handle_live_jobs(lambda: self._stopping.stop_and_wait(reason))
            raise

    def _handle_live_jobs(self, end: Callable[[], str]) -> str:
        """
        End, or leave to the next try, each job that is live. Raises nothing.

        :return: what became of them, as sentences; empty where there is none.
        """
        self._hook.enable_retries(self._sleep, datetime.now(timezone.utc).timestamp() + ENDING_SECONDS)
        try:
            attempts = self._attempts()
        except Exception as error:
            if self._jobs:
                return end()
            why = summarize_error(error)
            disposition = f"Could not determine whether run {self.run.key} has a live training job ({why})"
            self._log.warning("%s. Run `airflow-spot orphans` to check", disposition)
            return f"Nothing was sent to SageMaker. {disposition}"
        fates = []
        for attempt in attempts:
            if not attempt.live:
                if attempt.job_name in self._jobs:
                    fates.append(f"Training job {attempt.job_name} has ended: {attempt.label}")
                continue
            self._found, self._stopping.jobs = attempt, (attempt.job_name,)
            self._take_ownership(attempt)
            fates.append(end())
        return sentences(*fates)

    def _attempts(self) -> tuple[Attempt, ...]:
        if not self._resumes:
            return self._hook.jobs_of(self._stub())
        known = (self._hook.attempt(job) for job in self._jobs)
        return tuple(job for job in known if job is not None)

    def _take_ownership(self, attempt: Attempt) -> None:
        theirs = None if attempt.owner is None else TryMark(attempt.owner, self._try.max_tries)
        if self._resumes or self._try.is_older_than(theirs, attempt.created):
            return
        try:
            self._hook.marks.set_owner(attempt.arn, self._try)
        except Exception as error:
            self._log.warning(
                "Could not take ownership of training job %s (%s)", attempt.job_name, summarize_error(error)
            )

    def _stub(self) -> Plan:
        """Return what names the run's jobs, of a configuration that is wrong."""
        return Plan(self.run, {}, legal_prefix(default_name(self._name)), (), "", "run")

    def _checkpoints(self) -> str:
        return self._found.checkpoint_s3_uri if self._found is not None else ""

    def _tell(self, event: Event) -> None:
        for observe in observers(self._log, self.run.key, settings.events_file()):
            observe(event)

    def _sleep(self, amount: float) -> None:
        interruptible_sleep(amount, self._check_alive)

    def _check_alive(self) -> None:
        if self._killed:
            raise RunKilledError(f"Airflow killed this try of run {self.run.key} before it began to wait")


def _stop_on_kill(said: bool | None) -> bool:
    """Read it also where ``[airflow_spot]`` holds nonsense: to stop is the default."""
    try:
        return settings.stop_on_kill() if said is None else said
    except Exception:
        return True
