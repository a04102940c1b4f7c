"""Train on SageMaker's managed spot instances: the stock operator's parameters, and what it leaves to you."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.configuration import conf
from airflow.providers.amazon.aws.operators.base_aws import AwsBaseOperator
from airflow.providers.amazon.aws.utils.mixins import aws_template_fields

from airflow_spot import config as settings
from airflow_spot.compat import AirflowException, AirflowTaskTimeout
from airflow_spot.core import rules
from airflow_spot.core.decide import Limits
from airflow_spot.core.durations import seconds
from airflow_spot.core.fields import InvalidField, is_templated
from airflow_spot.core.identity import RunIdentity, check_s3_uri
from airflow_spot.core.marks import TryMark
from airflow_spot.core.plan import Plan, SpotSettings, apply_settings, build_plan
from airflow_spot.core.result import build_result
from airflow_spot.errors import RequestError, SpotTrainingError
from airflow_spot.hooks.source import SourceArchive, script_mode_hyperparameters
from airflow_spot.hooks.training import SageMakerSpotTrainingHook
from airflow_spot.links.training import (
    SageMakerCheckpointsLink,
    SageMakerTrainingJobLink,
    SageMakerTrainingLogsLink,
)
from airflow_spot.operators.run import Deferral, RunOptions, TrainingRun

if TYPE_CHECKING:
    from airflow_spot.compat import Context


class SageMakerSpotTrainingOperator(AwsBaseOperator[SageMakerSpotTrainingHook]):
    """
    Train a model on managed spot instances; lose no work, pay once, and say what was saved.

    A drop-in for ``SageMakerTrainingOperator``: change the import, and the same ``config`` runs on spot with a
    checkpoint folder of its own. What it guarantees: one job trains per task instance, over all retries, worker
    crashes and lost responses; a new job resumes from the newest checkpoint; a task that ends leaves no job behind.

    :param config: CreateTrainingJob's parameters, as for the stock operator, ``S3Operations`` included
        (templated). It is not changed. ``TrainingJobName`` becomes the prefix of the attempts' names; without
        one it is the task's id.
    :param use_spot_instances: managed spot training (default) or on-demand (templated).
    :param max_run: how long the job may train, over all its restarts: seconds, a ``timedelta``, or text such as
        ``"6h"`` (templated). Default: the config's ``MaxRuntimeInSeconds``, else a day.
    :param max_wait: how long it may wait for capacity and train, together (templated). Default: the config's
        ``MaxWaitTimeInSeconds``, else ``max_run`` and a day. When it is over, a new attempt begins.
    :param checkpoint_s3_uri: the S3 folder below which each run keeps its checkpoints (templated). Default:
        the config's, else ``checkpoints`` below its ``S3OutputPath``.
    :param checkpoint_local_path: where the script writes them (templated). Default: ``/opt/ml/checkpoints``.
    :param checkpoint_scope: ``"run"`` (default) adds dag, task, run key and generation to the folder; ``"exact"``
        uses it as it is, and refuses to start while a live job of another run writes there (templated).
    :param resume: go on from what the run has (default). False: clearing the task trains anew, from nothing;
        an automatic retry still goes on (templated).
    :param entry_point: script mode: the training script; a path in ``source_dir``, else a path relative to the
        DAG's file (templated).
    :param source_dir: the folder that is sent with it, relative to the DAG's file, or the S3 URI of an archive
        that is there already (templated).
    :param code_location: the S3 folder for the script's archive (templated). Default: ``code`` below
        ``S3OutputPath``.
    :param wait_for_completion: False creates or finds the job, returns its description, and leaves it running.
    :param print_log: show the job's output in the task's log: as it comes, or, deferrable, its end at each resume.
    :param check_interval: seconds between two looks at the job. Default: ``[airflow_spot] check_interval``, 30.
    :param max_attempts: accepted for the stock operator's sake, and of no effect: the task waits as long as the
        job may run.
    :param max_ingestion_time: seconds after which the task gives up: the job is stopped, and the task fails.
    :param check_if_job_exists: accepted, and of no effect: a job's name follows from the run.
    :param action_if_job_exists: accepted, and of no effect, likewise.
    :param stop_on_kill: stop the job when the task is killed or gives up; its checkpoints stay. Default:
        ``[airflow_spot] stop_on_kill``, True.
    :param deferrable: wait in the triggerer instead of a worker.
    :param aws_conn_id: and ``region_name``, ``verify``, ``botocore_config``: as for every Amazon operator.
    :raises InvalidField: a parameter that is known when the DAG is parsed is wrong.
    :return: ``{"Training": <the job's description>, "Spot": {"run", "generation", "attempts", "interruptions",
        "training_seconds", "billable_seconds", "savings_percent", "checkpoint_s3_uri", "model_artifacts"}}``,
        without hyperparameters and environment.
    """

    aws_hook_class = SageMakerSpotTrainingHook
    template_fields: Sequence[str] = aws_template_fields(
        "config",
        "use_spot_instances",
        "max_run",
        "max_wait",
        "checkpoint_s3_uri",
        "checkpoint_local_path",
        "checkpoint_scope",
        "resume",
        "entry_point",
        "source_dir",
        "code_location",
    )
    template_ext: Sequence[str] = ()
    template_fields_renderers: ClassVar[dict[str, str]] = {"config": "json"}
    ui_color: str = "#d6ecd2"
    operator_extra_links = (SageMakerTrainingJobLink(), SageMakerTrainingLogsLink(), SageMakerCheckpointsLink())

    def __init__(
        self,
        *,
        config: dict[str, Any],
        use_spot_instances: bool | str = True,
        max_run: int | str | timedelta | None = None,
        max_wait: int | str | timedelta | None = None,
        checkpoint_s3_uri: str | None = None,
        checkpoint_local_path: str | None = None,
        checkpoint_scope: str = "run",
        resume: bool | str = True,
        entry_point: str | None = None,
        source_dir: str | None = None,
        code_location: str | None = None,
        wait_for_completion: bool = True,
        print_log: bool = True,
        check_interval: float | None = None,
        max_attempts: int | None = None,
        max_ingestion_time: int | None = None,
        check_if_job_exists: bool = True,
        action_if_job_exists: str = "timestamp",
        stop_on_kill: bool | None = None,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.config = config
        self.use_spot_instances = use_spot_instances
        self.max_run = max_run
        self.max_wait = max_wait
        self.checkpoint_s3_uri = checkpoint_s3_uri
        self.checkpoint_local_path = checkpoint_local_path
        self.checkpoint_scope = checkpoint_scope
        self.resume = resume
        self.entry_point = entry_point
        self.source_dir = source_dir
        self.code_location = code_location
        self.wait_for_completion = wait_for_completion
        self.print_log = print_log
        self.check_interval = check_interval
        self.max_attempts = max_attempts
        self.max_ingestion_time = max_ingestion_time
        self.check_if_job_exists = check_if_job_exists
        self.action_if_job_exists = action_if_job_exists
        self.stop_on_kill = stop_on_kill
        self.deferrable = deferrable
        self._run: TrainingRun | None = None
        self._check_literals()

    # ---- Airflow's entries

    def execute(self, context: Context) -> dict[str, Any]:
        """Train, or go on training, and return what came of it."""
        self._explain_parameters()
        run = self._begin(context, self._give_up_at())
        if not self.wait_for_completion:
            run.begin()
            description = run.submit_only()
            result = build_result(description, run.history, run.plan.run.key)
            run.delivered(description)
            return result
        return self._carry(run, run.begin)

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> dict[str, Any]:
        """Go on where the trigger fired."""
        carry = (event or {}).get("carry") or {}
        if "generation" not in carry:
            raise AirflowException(f"The trigger's event is not one of SageMakerSpotTrainingTrigger: {event}")
        stamp = carry.get("give_up_at")
        run = self._begin(context, datetime.fromtimestamp(stamp, timezone.utc) if stamp else None)
        if (event or {}).get("status") == "refused":
            # To defer again would be answered at once, again and again, for as long as the job trains.
            self.log.warning(
                "The triggerer may not look at the job, so the worker waits: %s", (event or {}).get("message")
            )
            run.options = replace(run.options, deferrable=False)
        return self._carry(run, partial(run.resume, carry))

    def on_kill(self) -> None:
        """Stop the job of a killed task. Never raises: Airflow calls it from a signal handler."""
        if self._run is None:
            return
        try:
            self._run.kill()
        except Exception as error:
            self.log.error("The training job could not be stopped: %s", error)

    # ---- inside

    def _carry(self, run: TrainingRun, enter: Callable[[], None]) -> dict[str, Any]:
        try:
            enter()
            description, history = run.go()
        except Deferral as wait:
            self._defer(run, wait)
        except (AirflowTaskTimeout, KeyboardInterrupt):
            run.abandon("timeout")
            raise
        except SpotTrainingError:
            raise  # decided, and no job is live
        except Exception:
            run.let_go()
            raise
        result = build_result(description, history, run.plan.run.key)
        run.delivered(description)
        return result

    def _defer(self, run: TrainingRun, wait: Deferral) -> None:
        from airflow_spot.triggers.training import SageMakerSpotTrainingTrigger

        self.defer(
            trigger=SageMakerSpotTrainingTrigger(
                job_name=wait.job_name,
                until=wait.until.timestamp() if wait.until else None,
                carry=wait.carry,
                poll_interval=run.options.check_interval,
                stop_on_kill=run.options.stop_on_kill,
                try_number=run.this_try.number,
                aws_conn_id=self.aws_conn_id,
                region_name=self.region_name,
                verify=self.verify,
                botocore_config=self.botocore_config,
            ),
            method_name="execute_complete",
        )

    def _begin(self, context: Context, give_up_at: datetime | None) -> TrainingRun:
        ti = context["ti"]
        try:
            plan = self._plan(
                RunIdentity(
                    settings.namespace(), ti.dag_id, ti.run_id, ti.task_id, -1 if ti.map_index is None else ti.map_index
                )
            )
            resume = _boolean("resume", self.resume)
            interval = settings.check_interval() if self.check_interval is None else float(self.check_interval)
            stop_on_kill = settings.stop_on_kill() if self.stop_on_kill is None else self.stop_on_kill
        except InvalidField as error:
            raise RequestError(f"{error}. Nothing was sent to SageMaker") from error
        self._run = TrainingRun(
            hook=self.hook,
            plan=plan,
            limits=Limits(ladder=plan.ladder, give_up_at=give_up_at),
            this_try=TryMark(ti.try_number, ti.max_tries),
            options=RunOptions(
                deferrable=self.deferrable,
                check_interval=interval,
                print_log=self.print_log,
                resume=resume,
                stop_on_kill=stop_on_kill,
            ),
            prepare=self._prepare(plan),
            on_attempt=self._link_to(context),
            log=self.log,
        )
        return self._run

    def _plan(self, run: RunIdentity) -> Plan:
        config = dict(self.config)
        if self.entry_point is not None:
            config["HyperParameters"] = {**config.get("HyperParameters", {}), **self._script_mode()}
        if config.get("RoleArn"):
            config["RoleArn"] = self.hook.expand_role(config["RoleArn"])
        return build_plan(config, self._settings, run, self.hook.request_shape)

    def _prepare(self, plan: Plan) -> Any:
        """Make what puts into S3 what the first job needs; it runs once, before a create."""
        done = False

        def prepare() -> None:
            nonlocal done
            if done:
                return
            done = True
            self.hook.configure_s3_resources(self.config)
            self.hook.check_training_config(dict(plan.request))
            if self.entry_point is not None and isinstance(self._source, SourceArchive):
                self.hook.upload_source(self._source, self._code_location)
            if plan.checkpoint_scope == "exact":
                writers = self.hook.live_writers(plan.checkpoint_base, plan.run.key)
                if writers:
                    raise RequestError(
                        f"checkpoint_s3_uri is {plan.checkpoint_base!r}: training job {writers[0]} of another run "
                        'writes there. Wait for it, or use checkpoint_scope="run"'
                    )

        return prepare

    def _link_to(self, context: Context) -> Any:
        def link(job_name: str, checkpoint_s3_uri: str) -> None:
            place = {"region_name": self.hook.conn_region_name, "aws_partition": self.hook.conn_partition}
            bucket, _, prefix = checkpoint_s3_uri.removeprefix("s3://").partition("/")
            for kind in (SageMakerTrainingJobLink, SageMakerTrainingLogsLink):
                kind.persist(context=context, operator=self, job_name=job_name, **place)
            SageMakerCheckpointsLink.persist(context=context, operator=self, bucket=bucket, prefix=prefix, **place)

        return link

    @property
    def _settings(self) -> SpotSettings:
        return SpotSettings(
            use_spot_instances=self.use_spot_instances,
            max_run=self.max_run,
            max_wait=self.max_wait,
            checkpoint_s3_uri=self.checkpoint_s3_uri,
            checkpoint_local_path=self.checkpoint_local_path,
            checkpoint_scope=self.checkpoint_scope,
        )

    @cached_property
    def _source(self) -> SourceArchive | str:
        """The script and its folder, or the S3 URI of an archive that is there already."""
        entry_point, source_dir = str(self.entry_point), self.source_dir
        if source_dir is not None and source_dir.startswith("s3://"):
            return check_s3_uri("source_dir", source_dir)
        base = Path(self.dag.fileloc).parent if self.has_dag() and self.dag.fileloc else Path.cwd()
        return SourceArchive(entry_point, None if source_dir is None else Path(source_dir), base)

    @property
    def _code_location(self) -> str:
        if self.code_location:
            return check_s3_uri("code_location", self.code_location)
        output = (self.config.get("OutputDataConfig") or {}).get("S3OutputPath", "")
        return f"{check_s3_uri('OutputDataConfig.S3OutputPath', output).rstrip('/')}/code"

    def _script_mode(self) -> dict[str, str]:
        source = self._source
        region = self.hook.conn_region_name
        if isinstance(source, str):
            return script_mode_hyperparameters(str(self.entry_point), source, region)
        return script_mode_hyperparameters(source.program, source.uri(self._code_location), region)

    def _give_up_at(self) -> datetime | None:
        limits = []
        if self.max_ingestion_time is not None:
            limits.append(seconds("max_ingestion_time", self.max_ingestion_time))
        if self.execution_timeout is not None and self.deferrable:
            # Airflow 3 does not count the time in the triggerer, and a worker's own timeout ends no job.
            limits.append(int(self.execution_timeout.total_seconds()))
        return datetime.now(timezone.utc) + timedelta(seconds=min(limits)) if limits else None

    def _check_literals(self) -> None:
        """Meet bad input when the DAG is parsed, where it is known by then; what is templated comes later."""
        if self.action_if_job_exists not in ("timestamp", "fail"):
            raise InvalidField("action_if_job_exists", self.action_if_job_exists, 'must be "timestamp" or "fail"')
        if not is_templated(self.checkpoint_scope) and self.checkpoint_scope not in ("run", "exact"):
            raise InvalidField("checkpoint_scope", self.checkpoint_scope, 'must be "run" or "exact"')
        if self.source_dir is not None and self.entry_point is None:
            raise InvalidField("source_dir", self.source_dir, "name the script in it as entry_point")
        if isinstance(self.config, Mapping) and all(not is_templated(part) for part in self.config.values()):
            rules.check(apply_settings(self.config, self._settings, self.task_id))

    def _explain_parameters(self) -> None:
        told = []
        if self.max_attempts is not None:
            told.append("max_attempts (the task waits as long as the job may run)")
        if not self.check_if_job_exists or self.action_if_job_exists != "timestamp":
            told.append("check_if_job_exists and action_if_job_exists (a job's name follows from the run)")
        if told:
            self.log.warning("Of no effect here: %s", "; ".join(told))
        if self.deferrable and not self.wait_for_completion:
            self.log.warning("deferrable has no effect with wait_for_completion=False")


def _boolean(field: str, value: Any) -> bool:
    if isinstance(value, str) and value.strip().lower() in ("true", "false"):
        return value.strip().lower() == "true"
    if isinstance(value, bool):
        return value
    raise InvalidField(field, value, "must be true or false")
