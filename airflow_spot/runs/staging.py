"""What has to be in S3 before a run's first job: the script, the config's S3Operations, another run's checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_spot.aws.source_archive import SourceArchive, script_mode_hyperparameters
from airflow_spot.core.identity import JobName, RunIdentity, checkpoint_prefix, name_filter
from airflow_spot.core.locations import check_s3_uri
from airflow_spot.core.parameter_errors import InvalidParameterError
from airflow_spot.core.plan import Plan
from airflow_spot.errors import RequestError

if TYPE_CHECKING:
    from airflow_spot.hooks.training import SageMakerSpotTrainingHook

_RUN_FIELDS = ("dag_id", "run_id", "task_id", "map_index")


class ScriptMode:
    """
    A training script that is sent along.

    :param entry_point: the script, relative to ``source_dir`` or ``base``.
    :param source_dir: its folder, relative to ``base``, or the S3 URI of an archive.
    :param location: the S3 folder for the archive.
    """

    def __init__(self, entry_point: str, source_dir: str | None, location: str, base: Path) -> None:
        self.entry_point = entry_point
        self.source_dir = source_dir
        self.location = location
        self._base = base

    @cached_property
    def source(self) -> SourceArchive | str:
        """The script and its folder, or the S3 URI of an archive that is there already."""
        if self.source_dir is not None and self.source_dir.startswith("s3://"):
            return check_s3_uri("source_dir", self.source_dir)
        folder = None if self.source_dir is None else Path(self.source_dir)
        return SourceArchive(self.entry_point, folder, self._base)

    def hyperparameters(self, region: str) -> dict[str, str]:
        """What tells the container which script to run."""
        if isinstance(self.source, str):
            return script_mode_hyperparameters(self.entry_point, self.source, region)
        return script_mode_hyperparameters(self.source.program, self.source.uri(self.location), region)


class InputStager:
    """
    Done before a worker creates a job: what is sent to S3 once, the looks at the checkpoints' folder each time.

    :param config: the operator's, for its ``S3Operations``.
    :param script: what is sent along, if anything.
    :param resume_from: where a generation's first job takes its checkpoints from: an S3 URI, the name of a job of
        ours, or a mapping of ``dag_id``, ``run_id``, ``task_id`` and, if mapped, ``map_index``.
    :param namespace: of this deployment, to find the other run.
    """

    def __init__(
        self,
        hook: SageMakerSpotTrainingHook,
        plan: Plan,
        config: dict[str, Any],
        script: ScriptMode | None,
        resume_from: Any,
        namespace: str,
    ) -> None:
        self._hook = hook
        self._plan = plan
        self._config = config
        self._script = script
        self._resume_from = resume_from
        self._namespace = namespace
        self._done = False

    def __call__(self, first_checkpoints: str | None) -> None:
        """
        Prepare.

        :param first_checkpoints: where the checkpoints are to be, if the job is the first that writes there.
        :raises RequestError: a live job of another run writes to the same folder, or there is nothing to resume from.
        """
        if not self._done:
            self._done = True
            self._hook.configure_s3_resources(self._config)
            self._hook.check_training_config(dict(self._plan.request))
            if self._script is not None and isinstance(self._script.source, SourceArchive):
                self._hook.upload_source(self._script.source, self._script.location)
        if self._plan.checkpoint_scope == "exact":
            self._check_alone()
        if first_checkpoints is not None and self._resume_from is not None:
            self._seed(first_checkpoints)

    def _check_alone(self) -> None:
        base = self._plan.checkpoint_base
        writers = self._hook.live_writers(base, self._plan.run.key)
        if writers:
            raise RequestError(
                f"checkpoint_s3_uri is {base!r}: training job {writers[0]} of another run "
                'writes there. Wait for it, or use checkpoint_scope="run"'
            )

    def _seed(self, target: str) -> None:
        """Copy another run's checkpoints: whole again after a crash in the middle, since no job has begun yet."""
        from airflow_spot.aws.checkpoint_store import copy

        source = self._source_uri()
        self._hook.log.info("Copying the checkpoints in %s to %s", source, target)
        copied = copy(self._hook.s3_hook.get_conn(), source, target)
        if not copied.objects:
            raise RequestError(f"resume_from: there is nothing in {source}. Nothing was sent to SageMaker")
        self._hook.log.info("Copied %d files, %d bytes", copied.objects, copied.bytes)

    def _source_uri(self) -> str:
        given = self._resume_from
        if isinstance(given, str) and given.startswith("s3://"):
            return check_s3_uri("resume_from", given).rstrip("/")
        if isinstance(given, str):
            return self._of_job(given)
        run = RunIdentity(
            self._namespace, given["dag_id"], given["run_id"], given["task_id"], int(given.get("map_index", -1))
        )
        jobs = [parsed for name in self._hook.listed(name_filter(run.key)) if (parsed := JobName.parse(name))]
        if jobs:
            return self._of_job(str(max(jobs, key=lambda job: (job.generation, job.attempt))))
        # Its jobs may be deleted; where it kept its checkpoints follows from who it was.
        return checkpoint_prefix(self._plan.checkpoint_base, run, 1)

    def _of_job(self, name: str) -> str:
        description = self._hook.find(name)
        uri = ((description or {}).get("CheckpointConfig") or {}).get("S3Uri")
        if not uri:
            raise RequestError(f"resume_from is {name!r}: there is no such training job, or it keeps no checkpoints")
        return str(uri).rstrip("/")


def check_resume_from(value: Any) -> Any:
    """
    Check where to resume from, rendered.

    :raises InvalidParameterError: it is neither an S3 URI, nor a job's name, nor a run.
    """
    if value is None or value == "":
        return None
    if isinstance(value, str):
        return check_s3_uri("resume_from", value) if "/" in value else value
    if not isinstance(value, Mapping) or not {"dag_id", "run_id", "task_id"} <= set(value) <= set(_RUN_FIELDS):
        raise InvalidParameterError(
            "resume_from", value, f"give an S3 URI, a training job's name, or a mapping of {', '.join(_RUN_FIELDS)}"
        )
    return dict(value)
