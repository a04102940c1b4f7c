"""Train on SageMaker's managed spot instances: the stock operator's parameters, and what it leaves to you."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlsplit

from airflow.configuration import conf
from airflow.providers.amazon.aws.operators.base_aws import AwsBaseOperator
from airflow.providers.amazon.aws.utils.mixins import aws_template_fields

from airflow_spot import config as settings
from airflow_spot.compat.sdk import EXECUTION_TIMEOUT_COUNTS_DEFERRED, AirflowException
from airflow_spot.core.backoff import Backoff
from airflow_spot.core.decide import Limits
from airflow_spot.core.durations import human
from airflow_spot.core.findings import unpack
from airflow_spot.core.identity import JobName, RunIdentity
from airflow_spot.core.ladder import AUTO, Rung, counts_differ
from airflow_spot.core.locations import check_s3_uri, is_loopback
from airflow_spot.core.log_messages import result_line
from airflow_spot.core.outcomes import instance_count
from airflow_spot.core.parameters import TEMPLATED, TrainingParameters, check_given, check_parameters, read_parameters
from airflow_spot.core.plan import Plan, build_plan, section
from airflow_spot.core.progress import MAX_STARTS, ProgressRules
from airflow_spot.core.result import build_result
from airflow_spot.core.run_state import RunState
from airflow_spot.core.sentences import sentences
from airflow_spot.core.spot_switch import explain as explain_spot
from airflow_spot.core.stop_reasons import StopReason
from airflow_spot.errors import NonRetryableSpotError, RequestError, RunKilledError, SpotTrainingError
from airflow_spot.hooks.training import SageMakerSpotTrainingHook
from airflow_spot.links.training import LINKS
from airflow_spot.observers import observers
from airflow_spot.operators._before_execute import BeforeExecute
from airflow_spot.operators._config_file import read_beside, read_rendered
from airflow_spot.operators._lineage import lineage_of
from airflow_spot.operators._links import TaskLinks
from airflow_spot.operators._stock_steps import StockSteps, check_steps
from airflow_spot.policies.ladder import LadderPolicy
from airflow_spot.runs.adoption import Adoption
from airflow_spot.runs.auto_ladder import ordered
from airflow_spot.runs.blind_triggerer import POLL_SECONDS, blind_triggerer
from airflow_spot.runs.controller import TrainingRun
from airflow_spot.runs.delivery import deliver
from airflow_spot.runs.ledger_copy import LedgerCopy
from airflow_spot.runs.metrics import RunMetrics
from airflow_spot.runs.money import budget_of, find_prices, market_of, more_prices, table_of
from airflow_spot.runs.non_retryable import non_retryable_end
from airflow_spot.runs.preflight import look_ahead
from airflow_spot.runs.reaper_notice import warn_without_reaper
from airflow_spot.runs.staging import InputStager, ScriptMode
from airflow_spot.runs.startup import StartupGuard
from airflow_spot.runs.state import Deferral, RunOptions
from airflow_spot.runs.task_context import member_of, try_of
from airflow_spot.runs.timeouts import try_deadline

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage

    from airflow_spot.compat.sdk import Context


class SageMakerSpotTrainingOperator(BeforeExecute, StockSteps, AwsBaseOperator[SageMakerSpotTrainingHook]):
    """
    Train a model on managed spot instances; lose no work, pay once, and say what was saved.

    A drop-in for ``SageMakerTrainingOperator``: change the import, and the same ``config`` runs on spot with a
    checkpoint folder of its own. What it guarantees: one job trains per task instance, over all retries, worker
    crashes and lost responses; a new job resumes from the newest checkpoint; a task that ends stops its job.

    :param config: CreateTrainingJob's parameters and ``S3Operations``, as for the stock operator (templated); never
        changed. ``TrainingJobName`` becomes the prefix of the attempts' names; without one it is the task's id. Or the
        path of a JSON file, relative to the DAG's, or its S3 URI: what ``airflow-spot export`` has made of a trainer.
    :param use_spot_instances: managed spot training, or on-demand (templated). Default: as the config's
        ``EnableManagedSpotTraining`` says, else spot. On-demand, what is said of ``max_wait`` does not apply.
    :param max_run: how long the job may train, over all its restarts: seconds, a ``timedelta``, or text such as
        ``"6h"`` (templated). Default: the config's ``MaxRuntimeInSeconds``, else a day, or ``max_wait`` if less.
    :param max_wait: how long it may wait for capacity and train, together (templated). Default: the config's
        ``MaxWaitTimeInSeconds``, else ``max_run`` and a day. When it is over, a new attempt begins.
    :param use_checkpoints: have SageMaker keep the script's checkpoints (default). False, for a script that keeps its
        own, leaves ``CheckpointConfig`` out of the request: to Airflow each attempt starts from nothing, and what is
        below about checkpoints, and ``resume_from``, is refused (templated).
    :param checkpoint_s3_uri: the S3 folder below which each run keeps its checkpoints (templated). Default: the
        config's, else ``checkpoints`` below its ``S3OutputPath``.
    :param checkpoint_local_path: where the script writes them (templated). Default: ``/opt/ml/checkpoints``.
    :param checkpoint_scope: ``"run"`` (default) adds namespace, dag, task, run key and generation to the folder;
        ``"exact"`` uses it as it is, and refuses to start while a live job of another run writes there (templated).
    :param resume: resume what the run has (default). False: clearing the task trains from scratch; an automatic retry
        still resumes (templated).
    :param on_config_change: what clearing the task does where its image, script, hyperparameters or channels
        changed since its last job: ``"resume"`` from the checkpoint, with a warning, ``"restart"`` from scratch, or
        ``"fail"`` and create nothing (templated). Default: ``"resume"``; ``"restart"`` for a mapped task whose
        ``map_index_template`` does not tell that it is the same member.
    :param resume_from: seed the first job of each generation with another's checkpoints: an S3 URI, a training job's
        name, or ``{"dag_id", "run_id", "task_id"}``, and ``"map_index"`` if mapped (templated).
    :param adopt_job: a training job that the stock operator started for this DAG run (templated): it is waited for, and
        its model is the result. If it does not complete, the first own job begins with its checkpoints.
    :param checkpoint_retention: after success, delete the checkpoints of this task's other runs that have not
        changed for so long, such as ``"30d"``, and have no live job (templated). Default: keep all.
    :param model_s3_uri: after success, copy the model here inside S3: the URI of the object or, ending in a slash, of
        the folder (templated). What another training's copy left there is replaced. Default: it stays where it is made.
    :param checkpoint_warning_after: warn once a start has trained for so long without any checkpoint (templated).
        Default: an hour or a quarter of ``max_run``, whichever is less, but at least ten minutes.
    :param ladder: where to train, in order, when there is no capacity: a list of :class:`Rung`, instance types, or
        mappings, or JSON of one (templated). ``"auto"``: the types of ``instance_types`` on spot, in the order that
        AWS's prices, placement scores and quotas give them when a try begins; the log says why. Default: the config's
        instances, again and again.
    :param instance_types: for ``ladder="auto"``: the types to choose from, as a list or text with commas (templated).
    :param max_total_wait: how long a try may be without instances, all waits together (templated). Default: as
        long as its other limits allow.
    :param max_attempts: how many training jobs a try may create. Default: any number. (The stock operator's
        ``max_attempts`` counts polls, of which there is no limit here.)
    :param max_total_run: how long the try's jobs may train together, whatever ends them; one that is cut off at
        ``max_run`` is resumed from the checkpoint in a further job (templated). Default: no limit, and being cut off
        fails the try.
    :param max_cost: what the run may cost over all its tries, in the currency of its prices, such as ``50``
        (templated). A run of which one attempt could cost more is refused, and one whose instances have no known price.
        A run that reaches it is stopped, keeps its checkpoint, and fails without a retry. Default: any amount.
    :param max_starts_without_progress: starts in a row that may leave nothing new in the checkpoint folder: then the
        run moves to an on-demand rung, or fails. None only tells. Default: 3.
    :param script_error_retries: how often to resume in the same try after the script failed. Default: 0, since a
        script's error is there again.
    :param retry_exit_codes: of the script, after which it is always resumed, with growing pauses.
    :param entry_point: script mode: the training script; a path in ``source_dir``, else a path relative to the
        DAG's file (templated).
    :param source_dir: the folder that is sent with it, relative to the DAG's file, or the S3 URI of an archive
        that is there already (templated).
    :param code_location: the S3 folder for its archive (templated). Default: ``code`` below ``S3OutputPath``.
    :param lint: warn, once a generation, of faults in the script that only an interruption would show, see
        ``docs/lint.md`` (default). False is silent; nothing fails because of it.
    :param preflight: what is done, once a generation, before its first job is created, about what would go wrong with
        it: ``"warn"`` tells what can be known without further permissions, ``"fail"`` asks all that
        ``airflow-spot check`` does, and creates nothing that cannot work, ``"off"`` does not look. Default:
        ``[airflow_spot] preflight``, warn.
    :param wait_for_completion: False creates or finds the job, returns its description, and leaves it running.
    :param print_log: show the job's output in the task's log: as it comes, or, deferrable, its end at each resume.
    :param check_interval: polling interval in seconds. Default: ``[airflow_spot] check_interval``, 30.
    :param events_queue_url: an SQS queue that SageMaker's events come to, see ``docs/events.md`` (templated).
        Default: ``[airflow_spot] events_queue_url``, none.
    :param max_ingestion_time: after which the task gives up, as for ``max_run``: the job is stopped, and the task
        fails.
    :param check_if_job_exists: accepted and ignored: job names are derived from the run.
    :param action_if_job_exists: accepted and ignored, likewise.
    :param stop_on_kill: stop the job when the task is killed or gives up; its checkpoints stay. At ``max_total_run``
        and ``max_total_wait`` it is stopped whatever this says. Default: ``[airflow_spot] stop_on_kill``, True.
    :param deferrable: wait in the triggerer instead of a worker.
    :param aws_conn_id: and ``region_name``, ``verify``, ``botocore_config``: as for every Amazon operator.
    :raises InvalidParameterError: a parameter that is known when the DAG is parsed is wrong.
    :return: ``{"Training": <the job's description>, "Spot": {"run", "generation", "attempts", "interruptions",
        "waited_seconds", "launch_seconds", "training_seconds", "billable_seconds", "trained_twice_seconds",
        "spot_discount_percent", "savings_percent", "cost", "on_demand_cost", "saved", "prices",
        "checkpoint_s3_uri", "model_artifacts", "model_s3_uri"}}``, without hyperparameters and environment. See
        ``docs/operator.md``.
    """

    aws_hook_class = SageMakerSpotTrainingHook
    template_fields: Sequence[str] = aws_template_fields(*TEMPLATED)
    template_ext: Sequence[str] = ()
    template_fields_renderers: ClassVar[dict[str, str]] = {"config": "json"}
    ui_color: str = "#d6ecd2"
    operator_extra_links = tuple(kind() for kind in LINKS)
    #: The XCom that holds what is described above; None for the task's result.
    _facts_key: ClassVar[str | None] = None

    def __init__(
        self,
        *,
        config: dict[str, Any] | str,
        use_spot_instances: bool | str | None = None,
        max_run: int | str | timedelta | None = None,
        max_wait: int | str | timedelta | None = None,
        use_checkpoints: bool | str = True,
        checkpoint_s3_uri: str | None = None,
        checkpoint_local_path: str | None = None,
        checkpoint_scope: str = "run",
        resume: bool | str = True,
        on_config_change: str | None = None,
        resume_from: str | Mapping[str, Any] | None = None,
        adopt_job: str | None = None,
        checkpoint_retention: int | str | timedelta | None = None,
        model_s3_uri: str | None = None,
        checkpoint_warning_after: int | str | timedelta | None = None,
        ladder: Sequence[Rung | str | Mapping[str, Any]] | str | None = None,
        instance_types: Sequence[str] | str | None = None,
        max_total_wait: int | str | timedelta | None = None,
        max_attempts: int | None = None,
        max_total_run: int | str | timedelta | None = None,
        max_cost: float | str | Decimal | None = None,
        max_starts_without_progress: int | None = MAX_STARTS,
        script_error_retries: int = 0,
        retry_exit_codes: Sequence[int] = (),
        entry_point: str | None = None,
        source_dir: str | None = None,
        code_location: str | None = None,
        lint: bool = True,
        preflight: str | None = None,
        wait_for_completion: bool = True,
        print_log: bool = True,
        check_interval: float | None = None,
        events_queue_url: str | None = None,
        max_ingestion_time: int | str | timedelta | None = None,
        check_if_job_exists: bool = True,
        action_if_job_exists: str = "timestamp",
        stop_on_kill: bool | None = None,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.config = read_beside(config, self._folder)
        self.use_spot_instances = use_spot_instances
        self.max_run = max_run
        self.max_wait = max_wait
        self.use_checkpoints = use_checkpoints
        self.checkpoint_s3_uri = checkpoint_s3_uri
        self.checkpoint_local_path = checkpoint_local_path
        self.checkpoint_scope = checkpoint_scope
        self.resume = resume
        self.on_config_change = on_config_change
        self.resume_from = resume_from
        self.adopt_job = adopt_job
        self.checkpoint_retention = checkpoint_retention
        self.model_s3_uri = model_s3_uri
        self.checkpoint_warning_after = checkpoint_warning_after
        self.ladder = ladder
        self.instance_types = instance_types
        self.max_total_wait = max_total_wait
        self.max_attempts = max_attempts
        self.max_total_run = max_total_run
        self.max_cost = max_cost
        self.max_starts_without_progress = max_starts_without_progress
        self.script_error_retries = script_error_retries
        self.retry_exit_codes = retry_exit_codes
        self.entry_point = entry_point
        self.source_dir = source_dir
        self.code_location = code_location
        self.lint = lint
        self.preflight = preflight
        self.wait_for_completion = wait_for_completion
        self.print_log = print_log
        self.check_interval = check_interval
        self.events_queue_url = events_queue_url
        self.max_ingestion_time = max_ingestion_time
        self.check_if_job_exists = check_if_job_exists
        self.action_if_job_exists = action_if_job_exists
        self.stop_on_kill = stop_on_kill
        self.deferrable = deferrable
        self._run: StartupGuard | TrainingRun | None = None
        self._ledger: LedgerCopy | None = None
        self._trained: Mapping[str, Any] = {}
        self._links: TaskLinks | None = None
        self._metrics: RunMetrics | None = None
        self._types: tuple[str, ...] = ()
        check_steps(type(self), SageMakerSpotTrainingOperator)
        check_parameters(self, self.task_id)

    @classmethod
    def partial(cls, **kwargs: Any) -> Any:
        """
        Begin a mapped task. Airflow makes no operator of it when the DAG is parsed, so what can be checked is here.

        :raises InvalidParameterError: as for an operator that is not mapped.
        """
        check_steps(cls, SageMakerSpotTrainingOperator)
        check_given(kwargs)
        return super().partial(**kwargs)

    # ---- Airflow's entries

    def execute(self, context: Context) -> dict[str, Any]:
        """Train, or resume training, and return what came of it."""
        self._explain_parameters()
        return self._start(context)

    def _start(
        self, context: Context, waited: RunState | None = None, event: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Begin, also after a deferral: ``waited`` is of a wait for a job that was taken over."""
        self._run = guard = StartupGuard.of(self, context, waited)
        with guard.protect(killed=self._killed, unrendered=self._render_error):
            run, parameters = self._begin(context, guard.run, None, waited)
        if not is_loopback(urlsplit(self.hook.endpoint_url).hostname or ""):
            warn_without_reaper(datetime.now(timezone.utc), self.log)
        self._poll_if_blind(run, event or {})
        adoption = None
        if parameters.adopt_job is not None:
            adoption = Adoption.of(run, parameters.adopt_job, self._stager, context, waited)
        return self._carry(context, run, parameters, run.begin, adoption, to_the_end=parameters.wait_for_completion)

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> dict[str, Any]:
        """Continue where the trigger fired."""
        event = event or {}
        try:
            state = RunState.from_json(event.get("run_state") or {})
        except ValueError as error:
            raise AirflowException(
                f"The trigger's event is not one of SageMakerSpotTrainingTrigger ({error})"
            ) from None
        if state.this_try is not None and state.this_try.number != context["ti"].try_number:
            # Airflow 3.0 keeps where a deferred task was to continue, and hands it to the next try.
            return self.execute(context)
        if any(JobName.parse(job) is None for job in state.jobs):  # it was taken over, and the run has none of its own
            return self._start(context, state, event)
        self._run = guard = StartupGuard.of(self, context, state, state.deadline)
        with guard.protect(killed=self._killed, unrendered=self._render_error):
            run, parameters = self._begin(context, guard.run, state, state)
        self._poll_if_blind(run, event)
        quota_available = event.get("status") == "quota_available"
        told = unpack(event.get("told"))
        return self._carry(
            context, run, parameters, partial(run.resume, state, quota_available=quota_available, told=told)
        )

    def on_kill(self) -> None:
        """Stop the jobs of a killed task. Never raises: Airflow calls it from a signal handler."""
        self._killed = True  # the task's code may not have begun
        if self._run is None:
            return
        try:
            self._run.kill()
        except Exception as error:
            self.log.error(
                "The training job could not be stopped: %s. It may keep running until this task ends, its next try "
                "attaches, or until the reaper or `airflow-spot orphans --stop` stops it",
                error,
            )

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> OperatorLineage[Any, Any]:
        """Return what the training read and made: OpenLineage asks once the task has succeeded."""
        return lineage_of(self._trained)

    # ---- inside

    def _carry(
        self,
        context: Context,
        run: TrainingRun,
        parameters: TrainingParameters,
        enter: Callable[[], None],
        adoption: Adoption | None = None,
        *,
        to_the_end: bool = True,
    ) -> dict[str, Any]:
        ledger = self._ledger
        try:
            enter()
            if ledger is not None:
                ledger.write()
            description = self._train(run, adoption, to_the_end=to_the_end)
            history = run.history
            placed = deliver(run, parameters, description) if to_the_end else None
            result = build_result(description, history, run.plan.run.key, run.now(), run.prices, placed)
            self._trained = result["Training"]
            if to_the_end:
                self._link_model(description, placed)
                self.log.info(
                    "%s",
                    result_line(
                        str(description["TrainingJobName"]),
                        self.task_id,
                        run.plan.run.map_index,
                        model="model_artifacts" if placed is None else "model_s3_uri",
                        kept=self.do_xcom_push,
                        key=self._facts_key,
                    ),
                )
            returned: dict[str, Any] = self._to_return(context, run, description, result, ended=to_the_end)
            if ledger is not None:
                ledger.succeeded(result["Spot"]["model_s3_uri"] or result["Spot"]["model_artifacts"], ended=to_the_end)
            # The last call: a worker that is lost after it has a result that Airflow has not, and a clear trains again.
            run.mark_delivered(description)
            if self._metrics is not None:
                self._metrics.delivered()
        except Deferral as wait:
            self._defer(run, wait)
        except SpotTrainingError as error:
            # Decided, mostly with no job live: but one may be left alone, not to be seen, or not told to stop.
            run.stopping.release_or_stop(final=isinstance(error, (NonRetryableSpotError, RunKilledError)))
            if self._killed:
                run.close("killed by Airflow", killed=True)
            if self._killed or not isinstance(error, RunKilledError):  # else a later try has the run, and its page
                self._write_failure(error)
            raise
        except Exception as error:
            refusal = non_retryable_end(run, error)
            disposition = run.stopping.release_or_stop(final=refusal is not None)
            if refusal is not None:
                refused = RequestError(sentences(refusal, disposition))
                self._write_failure(refused)
                raise refused from None
            self._write_failure(error)
            raise
        except BaseException as error:  # Airflow's timeout, and on Airflow 2 its kill
            run.stop_and_wait(StopReason.KILLED if self._killed else StopReason.TIMEOUT)
            run.close("killed by Airflow" if self._killed else "the task's time is up", killed=self._killed)
            self._write_failure(error)
            raise
        # What is left running is to live, though Airflow ends the process while it keeps the result.
        self._run = None
        return returned

    def _train(self, run: TrainingRun, adoption: Adoption | None, *, to_the_end: bool) -> Mapping[str, Any]:
        try:
            description = adoption.carry(to_the_end=to_the_end) if adoption is not None else None
            if description is None:
                description = run.run()[0] if to_the_end else run.submit_only()
        except Deferral:
            # Not later: a timeout in the middle of this has to stop the job, as anywhere in a try.
            if self._ledger is not None:
                self._ledger.write()
            raise
        return description

    def _write_failure(self, error: BaseException) -> None:
        if self._ledger is not None:
            self._ledger.failed(error, killed=self._killed or isinstance(error, RunKilledError))

    def _to_return(
        self,
        context: Context,
        run: TrainingRun,
        description: Mapping[str, Any],
        facts: dict[str, Any],
        *,
        ended: bool,
    ) -> Any:
        """
        Return the task's result, before its job is marked as delivered.

        :param facts: what the operator's docstring names.
        :param ended: False where the job is left running.
        """
        return facts

    def _link_model(self, description: Mapping[str, Any], placed: str | None) -> None:
        """Have the task's link lead to the model: where it was copied to, else where SageMaker put it."""
        if self._links is not None:
            made = (description.get("ModelArtifacts") or {}).get("S3ModelArtifacts")
            self._links.model(str(description["TrainingJobName"]), placed or made)

    def _poll_if_blind(self, run: TrainingRun, event: Mapping[str, Any]) -> None:
        """Have the worker wait for a while where the triggerer may not look."""
        why = blind_triggerer(event, self.hook.find)
        if why is not None:
            self.log.warning("%s; polling in the worker for %s", why, human(POLL_SECONDS))
            run.options = replace(run.options, poll_until=run.now() + timedelta(seconds=POLL_SECONDS))

    def _defer(self, run: TrainingRun, wait: Deferral) -> None:
        run_state = wait.run_state
        if self._ledger is not None:
            run_state = replace(run_state, timeline=self._ledger.carried())
        # Also of a wait for a job that was taken over: AWS may not answer when the task goes on.
        run_state = replace(run_state, types=self._types, prices=run.prices)
        try:
            self._defer_to(run, wait, run_state)
        except RunKilledError as error:  # a user was faster
            self._write_failure(error)
            raise

    def _defer_to(self, run: TrainingRun, wait: Deferral, run_state: RunState) -> None:
        from airflow_spot.triggers.training import SageMakerSpotTrainingTrigger

        self.defer(
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
                aws_conn_id=self.aws_conn_id,
                region_name=self.region_name,
                verify=self.verify,
                botocore_config=self.botocore_config,
            ),
            method_name="execute_complete",
        )

    def _begin(
        self,
        context: Context,
        identity: RunIdentity,
        state: RunState | None,
        waited: RunState | None = None,
    ) -> tuple[TrainingRun, TrainingParameters]:
        """
        Read the rendered parameters, and make the run of them.

        :param state: what a deferral kept; its limit of time is that of the try.
        :param waited: likewise, or of a wait for a job that was taken over: the run has none of its own yet.
        """
        self._read_config_again()
        read_parameters(self)
        if self.deferrable and state is None:
            self._check_config_is_kept(SageMakerSpotTrainingOperator)
        with self._preprocessed():
            parameters = read_parameters(self)
        if state is None:
            for line in explain_spot(
                parameters.config, parameters.use_spot_instances, parameters.max_wait, parameters.rungs
            ):
                self.log.info(line)
        parameters = self._with_order(parameters, state)
        script = self._script(parameters)
        plan = self._plan(parameters, identity, script, member_of(self, context))
        prices = find_prices(
            self.hook,
            plan,
            self.log,
            carried=waited.prices if waited else None,
            begins=state is None,
            needed=parameters.max_cost is not None,
        )
        if counts_differ(plan.ladder):
            self.log.warning(
                "Ladder rungs differ in instance_count: rank-sharded checkpoints cannot be restored with another count"
            )
        backoff = Backoff(identity.key)
        self._stager = stager = InputStager(
            self.hook,
            plan,
            parameters.config,
            script,
            parameters.resume_from,
            lint=self.log if parameters.lint else None,
        )
        events_file = settings.events_file()
        timeline = waited.timeline if waited else ""
        self._ledger = ledger = LedgerCopy(identity, self.hook, context["ti"], self.log, carried=timeline)
        self._links = links = TaskLinks(self, context)
        if state is None:
            links.begin()
        this_try = try_of(context, self.retries)
        self._metrics = metrics = RunMetrics(identity, this_try, self.log)
        self._run = run = TrainingRun(
            hook=self.hook,
            plan=plan,
            limits=Limits(
                give_up_at=self._deadline(context, parameters, state, waited),
                script_errors=parameters.script_error_retries,
                retry_exit_codes=frozenset(parameters.retry_exit_codes),
                max_attempts=parameters.max_attempts,
                max_run=plan.max_run,
                max_total_wait=parameters.max_total_wait,
                max_total_run=parameters.max_total_run,
                backoff=backoff,
                use_checkpoints=plan.checkpoint_base is not None,
                progress=ProgressRules.of(
                    parameters.checkpoint_warning_after, parameters.max_starts_without_progress, plan.max_run
                ),
                budget=budget_of(parameters.max_cost, prices, plan, begins=state is None, first=this_try.number == 1),
            ),
            policy=LadderPolicy(
                plan.ladder,
                backoff,
                waits_for_quota=parameters.max_total_wait is not None,
                fingerprint=plan.fingerprint,
            ),
            this_try=this_try,
            options=replace(_options(parameters), reports_expected=script is not None and script.reports_progress),
            prepare=stager.stage,
            observers=(
                *observers(self.log, identity.key, events_file),
                links.observe,
                ledger.observe,
                metrics.observe,
            ),
            look_ahead=partial(
                look_ahead,
                self.hook,
                plan,
                parameters.preflight or settings.preflight(),
                self.log,
                max_cost=parameters.max_cost,
                prices=prices,
            ),
            before_wait=ledger.write,
            log=self.log,
            prices=prices,
            more_prices=partial(more_prices, self.hook, self.log),
        )
        ledger.follow(run)
        return run, parameters

    def _with_order(self, parameters: TrainingParameters, state: RunState | None) -> TrainingParameters:
        """Return the parameters with an automatic ladder in its order: a try keeps to the one that it began with."""
        types = parameters.instance_types
        if parameters.ladder != AUTO or types is None:
            return parameters
        if state is not None and set(state.types) == set(types):
            self._types = state.types
        else:
            count = instance_count(section(parameters.config, "ResourceConfig"))
            self._types = tuple(ordered(market_of(self.hook, table_of(None)), types, count, self.log))
        return replace(parameters, ladder=list(self._types))

    def _plan(self, parameters: TrainingParameters, run: RunIdentity, script: ScriptMode | None, member: str) -> Plan:
        config = dict(parameters.config)
        if script is not None:
            mode = script.hyperparameters(self.hook.conn_region_name)
            config["HyperParameters"] = {**section(config, "HyperParameters"), **mode}
        plan = build_plan(config, parameters.spot_settings, run, self.hook.request_shape, member)
        return replace(plan, incomplete=script is not None and script.missing is not None)

    @property
    def _folder(self) -> Path:
        """The folder of the DAG's file, which relative paths start from."""
        return Path(self.dag.fileloc).parent if self.has_dag() and self.dag.fileloc else Path.cwd()

    def _read_config_file(self) -> None:
        self.config = self.hook.bear_s3("GetObject", lambda s3: read_rendered(self.config, self._folder, s3))

    def _script(self, parameters: TrainingParameters) -> ScriptMode | None:
        if parameters.entry_point is None:
            return None
        return self._script_mode(parameters)

    def _script_mode(self, parameters: TrainingParameters, made: Mapping[str, bytes] | None = None) -> ScriptMode:
        """Return what is sent; ``made`` is content by name of what is no file."""
        location = parameters.code_location
        if not location:
            output = section(parameters.config, "OutputDataConfig").get("S3OutputPath", "")
            location = f"{check_s3_uri('OutputDataConfig.S3OutputPath', output).rstrip('/')}/code"
        return ScriptMode(str(parameters.entry_point), parameters.source_dir, location, self._folder, made)

    def _give_up_at(self, context: Context, parameters: TrainingParameters) -> datetime | None:
        dag_run = context.get("dag_run")
        return try_deadline(
            datetime.now(timezone.utc),
            max_ingestion_time=parameters.max_ingestion_time,
            execution_timeout=self.execution_timeout,
            deferrable=parameters.deferrable,
            airflow_counts=EXECUTION_TIMEOUT_COUNTS_DEFERRED,
            run_started=getattr(dag_run, "start_date", None),
            dagrun_timeout=getattr(self.dag, "dagrun_timeout", None) if self.has_dag() else None,
        )

    def _deadline(
        self, context: Context, parameters: TrainingParameters, state: RunState | None, waited: RunState | None
    ) -> datetime | None:
        if state is not None:
            return state.deadline
        carried = waited.deadline if waited is not None else None
        return carried or self._give_up_at(context, parameters)

    def _explain_parameters(self) -> None:
        if not self.check_if_job_exists or self.action_if_job_exists != "timestamp":
            self.log.warning("Ignored: check_if_job_exists, action_if_job_exists (job names are derived from the run)")
        if self.deferrable and not self.wait_for_completion:
            self.log.warning("Ignored: deferrable (wait_for_completion=False)")


def _options(parameters: TrainingParameters) -> RunOptions:
    interval, stop = parameters.check_interval, parameters.stop_on_kill
    return RunOptions(
        deferrable=parameters.deferrable,
        check_interval=settings.check_interval() if interval is None else interval,
        events_queue_url=settings.events_queue_url(parameters.events_queue_url),
        print_log=parameters.print_log,
        resume=parameters.resume,
        on_config_change=parameters.on_config_change,
        stop_on_kill=settings.stop_on_kill() if stop is None else stop,
    )
