"""Train on SageMaker's managed spot instances: the stock operator's parameters, and what it leaves to you."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.configuration import conf
from airflow.providers.amazon.aws.operators.base_aws import AwsBaseOperator
from airflow.providers.amazon.aws.utils.mixins import aws_template_fields

from airflow_spot.core.ladder import Rung
from airflow_spot.core.locations import check_s3_uri
from airflow_spot.core.parameters import TEMPLATED, TrainingParameters, check_given, check_parameters
from airflow_spot.core.plan import section
from airflow_spot.core.progress import MAX_STARTS
from airflow_spot.hooks.training import SageMakerSpotTrainingHook
from airflow_spot.links.training import LINKS
from airflow_spot.operators._before_execute import BeforeExecute
from airflow_spot.operators._config_file import read_beside, read_rendered
from airflow_spot.operators._lineage import lineage_of
from airflow_spot.operators._stock_steps import StockSteps, check_steps

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage

    from airflow_spot.compat.sdk import Context
    from airflow_spot.operators._task_try import TaskTry
    from airflow_spot.runs.controller import TrainingRun
    from airflow_spot.runs.staging import ScriptMode
    from airflow_spot.runs.startup import StartupGuard


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
    :param max_total_wait: how long a try may be without instances, cumulative (templated). Default: as long as
        its other limits allow.
    :param max_attempts: how many training jobs a try may create. Default: any number. (The stock operator's
        ``max_attempts`` counts polls, of which there is no limit here.)
    :param max_total_run: how long the try's jobs may train together, whatever ends them; one that is cut off at
        ``max_run`` is resumed from the checkpoint in a further job (templated). Default: no limit, and being cut off
        fails the try.
    :param max_cost: what the run may cost over all its tries, in the currency of its prices, such as ``50``
        (templated). A run of which one attempt could cost more is refused, and one whose instances have no known price.
        A run that reaches it is stopped, keeps its checkpoint, and fails without a retry. Default: any amount.
    :param max_starts_without_progress: starts in a row that may leave nothing new in the checkpoint folder: then the
        run moves to an on-demand rung, or fails. None only warns. Default: 3.
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
    :param stop_on_kill: stop the job when the task is killed or gives up; its checkpoints stay. At ``max_total_run``,
        ``max_total_wait`` and ``max_cost`` it is stopped in any case. Default: ``[airflow_spot] stop_on_kill``, True.
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
        self._trained: Mapping[str, Any] = {}
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
        return self._try(context).start()

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> dict[str, Any]:
        """Continue where the trigger fired."""
        from airflow_spot.operators._task_try import state_of

        state = state_of(event)
        if state.this_try is not None and state.this_try.number != context["ti"].try_number:
            # Airflow 3.0 keeps where a deferred task was to continue, and hands it to the next try.
            return self.execute(context)
        return self._try(context).resume(state, event or {})

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

    def _try(self, context: Context) -> TaskTry:
        # Recovery is for the worker: a DAG file that is parsed does not pay for it.
        from airflow_spot.operators._task_try import TaskTry

        return TaskTry(self, context)

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

    @property
    def _folder(self) -> Path:
        """The folder of the DAG's file, which relative paths start from."""
        return Path(self.dag.fileloc).parent if self.has_dag() and self.dag.fileloc else Path.cwd()

    def _read_config_file(self) -> None:
        self.config = self.hook.bear_s3("GetObject", lambda s3: read_rendered(self.config, self._folder, s3))

    def _script(self, parameters: TrainingParameters) -> ScriptMode | None:
        """Return what is sent in script mode."""
        return None if parameters.entry_point is None else self._script_mode(parameters)

    def _script_mode(self, parameters: TrainingParameters, made: Mapping[str, bytes] | None = None) -> ScriptMode:
        """Return what is sent; ``made`` is content by name of what is no file."""
        from airflow_spot.runs.staging import ScriptMode

        location = parameters.code_location
        if not location:
            output = section(parameters.config, "OutputDataConfig").get("S3OutputPath", "")
            location = f"{check_s3_uri('OutputDataConfig.S3OutputPath', output).rstrip('/')}/code"
        return ScriptMode(str(parameters.entry_point), parameters.source_dir, location, self._folder, made)

    def _explain_parameters(self) -> None:
        if not self.check_if_job_exists or self.action_if_job_exists != "timestamp":
            self.log.warning("Ignored: check_if_job_exists, action_if_job_exists (job names are derived from the run)")
        if self.deferrable and not self.wait_for_completion:
            self.log.warning("Ignored: deferrable (wait_for_completion=False)")
