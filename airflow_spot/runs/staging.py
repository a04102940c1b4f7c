"""What has to be in S3 before a run's first job: the script, the config's S3Operations, another run's checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from airflow_spot.aws.checkpoint_store import SourceChangingError, copy, measure, write_marker
from airflow_spot.aws.retrying import summarize_error
from airflow_spot.aws.source_archive import SourceArchive, script_mode_hyperparameters
from airflow_spot.core.identity import JobName, RunIdentity, checkpoint_prefix, name_filter
from airflow_spot.core.locations import check_s3_uri
from airflow_spot.core.outcomes import ENDED_STATUSES
from airflow_spot.core.parameter_errors import MissingFileError
from airflow_spot.core.plan import Plan
from airflow_spot.core.roles import Role
from airflow_spot.core.run_marker import MARKER_NAME
from airflow_spot.errors import RequestError, SpotTrainingError

if TYPE_CHECKING:
    from airflow_spot.hooks.training import SageMakerSpotTrainingHook
    from airflow_spot.observers import Log


class ScriptMode:
    """
    A training script that is sent along.

    :param entry_point: the script, relative to ``source_dir`` or ``base``.
    :param source_dir: its folder, relative to ``base``, or the S3 URI of an archive.
    :param location: the S3 folder for the archive.
    :param made: content by name of what is put beside the script and is no file, or is the script.
    """

    def __init__(
        self,
        entry_point: str,
        source_dir: str | None,
        location: str,
        base: Path,
        made: Mapping[str, bytes] | None = None,
    ) -> None:
        self.entry_point = entry_point
        self.source_dir = source_dir
        self.location = location
        self._base = base
        self._made = made or {}
        self.missing: MissingFileError | None = None

    @cached_property
    def source(self) -> SourceArchive | str:
        """The script and its folder, or the S3 URI of an archive that is there already."""
        if self.source_dir is not None and self.source_dir.startswith("s3://"):
            return check_s3_uri("source_dir", self.source_dir)
        folder = None if self.source_dir is None else Path(self.source_dir)
        return SourceArchive(self.entry_point, folder, self._base, self._made)

    @property
    def reports_progress(self) -> bool:
        """Whether it is sent along with the library that reports how far it is, as far as can be seen here."""
        return self.missing is None and isinstance(self.source, SourceArchive) and self.source.has_library

    def hyperparameters(self, region: str) -> dict[str, str]:
        """
        What tells the container which script to run; nothing where its files are not on this worker.

        Another worker had them, or will: a job that trains needs them no more. ``missing`` says what is not there.
        """
        try:
            return self._hyperparameters(region)
        except MissingFileError as error:
            self.missing = error
            return {}

    def _hyperparameters(self, region: str) -> dict[str, str]:
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
    :param lint: the log that is told of faults in the script before a generation's first job, if any.
    """

    def __init__(
        self,
        hook: SageMakerSpotTrainingHook,
        plan: Plan,
        config: Mapping[str, Any],
        script: ScriptMode | None,
        resume_from: Any,
        *,
        lint: Log | None = None,
    ) -> None:
        self._hook = hook
        self._plan = plan
        self._config = config
        self._script = script
        self._resume_from = resume_from
        self._lint = lint
        self._adopted = False
        self._done = False

    def seed_from(self, uri: str) -> None:
        """Seed the first job with the checkpoints of an adopted job, if it left any."""
        self._resume_from, self._adopted = uri, True

    def stage(self, checkpoints: str | None, first: bool) -> None:
        """
        Put into S3 what a job needs, and look at its checkpoint folder.

        :param checkpoints: the generation's folder, an S3 URI; None where SageMaker keeps no checkpoints.
        :param first: whether the job is the first that writes there.
        :raises RequestError: a live job of another run writes to the same folder, or there is nothing to resume from.
        :raises SpotTrainingError: the script is not on this worker.
        """
        if self._script is not None and self._script.missing is not None:
            raise SpotTrainingError(
                f"{self._script.missing}, on this worker. Nothing was created; a try on a worker that has it continues"
            )
        if not self._done:
            self._done = True
            self._hook.configure_s3_resources(self._config)
            self._hook.check_training_config(dict(self._plan.request))
            if self._script is not None and isinstance(self._script.source, SourceArchive):
                self._hook.upload_source(self._script.source, self._script.location)
        if checkpoints is None:
            return
        if first and self._lint and self._script is not None and isinstance(self._script.source, SourceArchive):
            log, self._lint = self._lint, None
            from airflow_spot.runs.script_faults import warn_of_faults  # here: only a generation's first job needs it

            warn_of_faults(self._script.source, self._plan.request, log)
        if self._plan.is_shared(checkpoints):
            self._check_alone(checkpoints)
        elif first and not self._mark(checkpoints):
            self._tell_what_is_there(checkpoints)
        if first and self._resume_from is not None:
            self._seed(checkpoints)

    def _check_alone(self, folder: str) -> None:
        writers = self._hook.live_writers(folder, self._plan.run.key)
        if writers:
            raise RequestError(
                f"checkpoint_s3_uri is {folder!r}: training job {writers[0]} of another run "
                'writes there. Wait for it, or use checkpoint_scope="run"'
            )

    def _tell_what_is_there(self, folder: str) -> None:
        """Warn that a generation's first job finds checkpoints: of jobs that were deleted since."""
        if self._resume_from is not None:  # then they may be what was copied before a crash
            return
        try:
            found = measure(self._hook.s3_hook.get_conn(), folder)
        except (ClientError, BotoCoreError) as error:
            self._hook.log.info("Could not list %s (%s)", folder, summarize_error(error))
            return
        if found is not None:
            self._hook.log.warning(
                "Checkpoint folder %s has %d files, the newest of %s, but the run's jobs were deleted. Training "
                "resumes from these files; empty the folder to train from scratch",
                folder,
                found.objects,
                found.newest.isoformat(timespec="seconds"),
            )

    def _mark(self, folder: str) -> bool:
        """
        Write the marker of the run into its folder, so that its checkpoints can be deleted one day.

        :return: False where it was there: the run has had a job before, or was about to.
        """
        try:
            return write_marker(self._hook.s3_hook.get_conn(), folder.rpartition("/")[0], self._plan.run)
        except (ClientError, BotoCoreError) as error:
            self._hook.log.warning(
                "Could not write %s beside the checkpoints (%s): checkpoint_retention and airflow-spot gc keep them",
                MARKER_NAME,
                summarize_error(error),
            )
            return True

    def _seed(self, target: str) -> None:
        """Copy another run's checkpoints: whole again after a crash in the middle, since no job has begun yet."""
        source = self._source_uri()
        if self._adopted and source == target.rstrip("/"):
            return  # it is in place: checkpoint_scope="exact"
        self._hook.log.info("Copying the checkpoints in %s to %s", source, target)
        try:
            copied = copy(self._hook.s3_hook.get_conn(), source, target, around=self._adopted)
        except SourceChangingError as error:
            raise SpotTrainingError(
                f"resume_from: {error}. Nothing was sent to SageMaker; wait for the job that writes there to end"
            ) from None
        if not copied.objects and self._adopted:
            self._hook.log.warning("There are no checkpoints in %s: training begins from nothing", source)
            return
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
            self._plan.run.namespace,
            given["dag_id"],
            given["run_id"],
            given["task_id"],
            int(given.get("map_index", -1)),
        )
        parsed = (JobName.parse(name) for name in self._hook.listed(name_filter(run.key)))
        jobs = [name for name in parsed if name is not None and name.role is Role.ATTEMPT]
        if jobs:
            return self._of_job(str(max(jobs, key=lambda job: (job.generation, job.number))))
        # Its jobs may be deleted; where it kept its checkpoints follows from who it was.
        return checkpoint_prefix(self._plan.checkpoint_base or "", run, 1)

    def _of_job(self, name: str) -> str:
        description = self._hook.find(name)
        uri = ((description or {}).get("CheckpointConfig") or {}).get("S3Uri")
        if not uri:
            raise RequestError(f"resume_from is {name!r}: there is no such training job, or it keeps no checkpoints")
        if (description or {}).get("TrainingJobStatus") not in ENDED_STATUSES:
            self._hook.log.warning("resume_from: %s still trains; what it writes from now on is not copied", name)
        return str(uri).rstrip("/")
