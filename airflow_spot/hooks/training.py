"""What a run asks of SageMaker: its history, new attempts, marks and stops."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from functools import cached_property, partial
from typing import Any, TypeVar

from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from airflow.providers.amazon.aws.hooks.sagemaker import SageMakerHook
from botocore.config import Config
from botocore.exceptions import ClientError

from airflow_spot.aws import jobs
from airflow_spot.aws.clock import AwsClock
from airflow_spot.aws.live_folders import LiveFolders
from airflow_spot.aws.logs import JobLog
from airflow_spot.aws.marks import Marks
from airflow_spot.aws.quiet import say_once
from airflow_spot.aws.retrying import RetryingClient, is_denied, is_expired
from airflow_spot.aws.run_jobs import RunJobs, is_live
from airflow_spot.aws.shapes import input_shape
from airflow_spot.aws.source_archive import SourceArchive
from airflow_spot.core.attempt import Attempt
from airflow_spot.core.marks import ENV_RUN, TAG_PREFIX, TAG_STOP, StopMark
from airflow_spot.core.outcomes import Outcome, classify_refusal
from airflow_spot.core.plan import Plan
from airflow_spot.core.quotas import read_limit
from airflow_spot.core.request_schema import Shape
from airflow_spot.core.retention import overlaps
from airflow_spot.core.run_state import RunState
from airflow_spot.core.s3_operations import read_s3_operations
from airflow_spot.core.secrets.redaction import redact
from airflow_spot.errors import RequestError, SpotTrainingError
from airflow_spot.hooks._sessions import OneSessionHook, SiblingLogsHook, SiblingS3Hook

T = TypeVar("T")

#: Seconds between looks at a job that was created and does not show yet: half a minute in all.
UNSEEN_PAUSES = (1.0, 2.0, 4.0, 8.0, 15.0)
#: How many of the newest ended attempts a try that begins reads in whole. It decides on the last one alone; the others
#: are for its log.
NEWEST_READ = 10


_HURRIED = Config(retries={"mode": "standard", "total_max_attempts": 1}, connect_timeout=2, read_timeout=3)


class JobNotVisibleError(SpotTrainingError):
    """A create was accepted, and its job does not show: it has to be taken for live."""


class CreateRefusedError(Exception):
    """
    CreateTrainingJob was refused for a reason that the run's ladder deals with.

    :param outcome: quota, or no capacity.
    """

    def __init__(self, outcome: Outcome, message: str) -> None:
        super().__init__(message)
        self.outcome = outcome


class SageMakerSpotTrainingHook(OneSessionHook, SageMakerHook):
    """
    Talk to SageMaker about the training jobs of a run.

    SageMaker is the ledger: everything a run needs to continue is asked from here, nothing from Airflow.

    Additional arguments (such as ``aws_conn_id`` or ``region_name``) are those of
    :class:`~airflow.providers.amazon.aws.hooks.base_aws.AwsBaseHook`. Unless ``config`` says otherwise, calls
    that are throttled, cut or answered by a 5xx are tried six times with growing pauses; after :meth:`enable_retries`,
    until they are answered.
    """

    #: Jobs of the run that have ended and are no attempts of its newest generation, as the last list told of them.
    listed_before: tuple[Attempt, ...] = ()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        say_once()
        self.clock = AwsClock()
        self._retrying: RetryingClient | None = None
        self._sleep: Callable[[float], None] = time.sleep
        # The stock hook builds these two without region, verify and config.
        self.s3_hook = SiblingS3Hook(self)
        self.logs_hook = SiblingLogsHook(self)
        self.marks = Marks(lambda: self.client, self.log)
        self._ended: dict[str, dict[str, Any]] | None = None
        self._live_folders: dict[str, LiveFolders] = {}
        #: By job, and by part of a training: whether it holds the same as this one's, though it is elsewhere in S3.
        self.compared: dict[str, dict[str, bool]] = {}

    def get_client_type(self, *args: Any, **kwargs: Any) -> Any:
        """Return a client, as Airflow's hook does, by whose answers ``clock`` is set."""
        client = super().get_client_type(*args, **kwargs)
        self.clock.listen(client)
        return client

    @property
    def config(self) -> Config:
        """The botocore configuration of the clients."""
        retries = Config(retries={"mode": "adaptive", "total_max_attempts": 6})
        merged: Config = retries.merge(super().config)
        return merged

    def brief_client(self, service: str, region: str) -> Any:
        """Return a client of another service that is asked once, for three seconds: a training can do without it."""
        return self._any_service(service, region, _HURRIED)

    @cached_property
    def _any_service(self) -> Callable[[str, str, Config], Any]:
        return self.clients_of_any_service()

    @property
    def client(self) -> Any:
        """The boto3 client for SageMaker; after :meth:`enable_retries`, one that retries transient errors."""
        return self._retrying or self.conn

    def enable_retries(
        self, sleep: Callable[[float], None], deadline: float | None, *, permitted: Collection[str] = ()
    ) -> None:
        """
        Repeat calls that fail in passing, as long as the run may last.

        :param sleep: waits so many seconds, and raises if the task is killed meanwhile.
        :param deadline: in seconds since 1970; None for none.
        :param permitted: the calls whose denial is believed only after minutes.
        """
        self._sleep = sleep
        known = {*permitted, *(self._retrying.permitted if self._retrying else ())}
        self._retrying = RetryingClient(self._connect, sleep, self.log, deadline=deadline, permitted=known)

    def extend_deadline(self) -> None:
        """Retry transient errors some minutes longer, from now on: the run's job is being stopped."""
        if self._retrying is not None:
            self._retrying.extend_deadline()

    def expand_role(self, role: str, region_name: str | None = None) -> str:
        """Get a role's ARN, as the stock hook does; after :meth:`enable_retries`, with retries."""
        ask: Callable[[], str] = partial(super().expand_role, role, region_name)
        return ask() if self._retrying is None or "/" in role else self._retrying.call("GetRole", ask)

    def _connect(self, fresh: bool) -> Any:
        """Return a client; of a new session, the connection is read again, and its credentials with it."""
        if fresh:
            self.forget_session()
            signals = self.__dict__.pop("signal_client", None) is not None
            self.__dict__.pop("conn", None)
            if signals:
                self.signal_client  # noqa: B018  as in JobStopper: made before a signal needs it
        return self.conn

    def bear_s3(self, name: str, ask: Callable[[Callable[[], Any]], T]) -> T:
        """
        Return what a call to S3 gives; after :meth:`enable_retries`, one that retries transient errors.

        :param ask: calls; it is given what gives boto3's client.
        """

        def call() -> T:
            try:
                return ask(self.s3_hook.get_conn)
            except Exception as error:
                if is_expired(error):
                    self.renew_s3()
                raise

        return call() if self._retrying is None else self._retrying.call(name, call)

    def renew_s3(self) -> None:
        """Make the next client for S3 of a new session, with credentials read again."""
        self.forget_session()
        self.s3_hook.__dict__.pop("conn", None)

    @cached_property
    def signal_client(self) -> Any:
        """
        A client for signal handlers alone: a signal may come in the middle of a call that holds the other one.

        Nothing is repeated within a call: a handler has seconds, and repeats for itself.
        """
        return self.separate_client(_HURRIED)

    @cached_property
    def request_shape(self) -> Shape:
        """What CreateTrainingJob takes, by the installed botocore."""
        return input_shape(self.client, "CreateTrainingJob")

    @property
    def endpoint_url(self) -> str:
        """Return where SageMaker is."""
        client: Any = self.conn
        return str(client.meta.endpoint_url)

    # ---- reading

    def find(self, job_name: str) -> dict[str, Any] | None:
        """Describe a training job; None where there is none of that name."""
        if self._ended is not None and job_name in self._ended:
            return self._ended[job_name]
        found = jobs.find(self.client, job_name)
        if self._ended is not None and found is not None and not is_live(found):
            self._ended[job_name] = found
        return found

    def remember_ended(self) -> None:
        """Describe each ended job once from now on: for a worker, whose life is short and whose jobs are few."""
        if self._ended is None:
            self._ended = {}

    def attempt(self, job_name: str, stop: StopMark | None = None) -> Attempt | None:
        """
        Read one attempt, with its marks.

        :param stop: why the caller has told it to stop, which its marks do not say where they are not permitted.
        """
        description = self.find(job_name)
        if description is None or stop is None:
            return None if description is None else self.as_attempt(description)
        arn = description["TrainingJobArn"]
        tags = {TAG_STOP: str(stop), **self.marks.tags(arn)}
        marked = StopMark.parse(tags[TAG_STOP])
        overwritten = marked is not None and marked.withdrawn and marked.try_number <= stop.try_number
        if overwritten and not is_live(description):
            # By an older try, which did not know of this stop. It came, and the next try has to know why.
            tags[TAG_STOP] = str(stop)
            self.marks.set_stop(arn, stop)
        return self.as_attempt(description, tags)

    def as_attempt(self, description: Mapping[str, Any], tags: Mapping[str, str] | None = None) -> Attempt:
        """
        Add a job's marks, which DescribeTrainingJob does not return, to its description.

        :param tags: of a job that was just created with them; None to ask.
        """
        marks = self.marks.tags(description["TrainingJobArn"]) if tags is None else tags
        return Attempt.from_description(description, marks)

    def jobs_of(self, plan: Plan, *, known: Sequence[str] = (), state: RunState | None = None) -> tuple[Attempt, ...]:
        """
        Find the jobs of a run's newest generation: every attempt, and what is live of other roles.

        The list may lag behind what was just created, or may not be permitted: so the next names are always tried
        too, of this generation and of the one after it, as are the names that are known from elsewhere. What has ended
        is read once: see :class:`~airflow_spot.aws.run_jobs.RunJobs`.

        :param plan: the run's.
        :param known: job names that the run has had, even if no list shows them yet.
        :param state: what a deferral carried; None where a try begins.
        :return: empty where the run has none yet.
        """
        if state is None:
            jobs_ = RunJobs(self, plan, known=known)
            generation = jobs_.newest_generation()
            attempts = jobs_.attempts(generation, newest=NEWEST_READ)
        else:
            jobs_ = RunJobs(self, plan, known=(*state.jobs, *known), since=state.since, ended=state.ended)
            generation = jobs_.newest_generation(at_least=state.generation)
            attempts = jobs_.attempts(generation, newest=1, first_needed=state.first_of_try)
        self.listed_before = jobs_.ended_before(generation)
        return (*attempts, *jobs_.others(generation))

    def live_of_generation(self, plan: Plan, generation: int) -> list[str]:
        """Name the attempts of a generation that may still train; no list that lags and no deleted job hides one."""
        return RunJobs(self, plan).live(generation)

    def read_ended(self, attempt: Attempt) -> Attempt | None:
        """
        Read the whole of an attempt that has ended; None where it was deleted.

        Its tags are read only where they may say how it ended: nobody asks for the others of an old attempt.
        """
        description = self.find(attempt.job_name)
        if description is None:
            return None
        found = Attempt.from_description(description, {})
        return self.as_attempt(description) if found.outcome is Outcome.STOPPED_EXTERNALLY else found

    def job_log(self, job_name: str) -> JobLog:
        """Follow a job's output, without its secrets."""
        return JobLog(self.logs_hook.get_conn(), job_name, partial(self.find, job_name))

    # ---- writing

    def submit(self, request: Mapping[str, Any], run_key: str) -> tuple[dict[str, Any], bool]:
        """
        Create an attempt, or attach to it where it exists.

        A response that was lost, or another worker of the same run, shows as ``ResourceInUse``: the job is ours
        once its Environment says so. There is no second job either way.

        :param request: the whole CreateTrainingJob request.
        :param run_key: whose it has to be.
        :return: the job's description, and whether this call attached instead of creating.
        :raises RequestError: SageMaker refuses the request, or a stranger has the name.
        :raises CreateRefusedError: an account limit is reached, or there is no capacity.
        :raises JobNotVisibleError: SageMaker accepted it, and does not show the job.
        """
        name = request["TrainingJobName"]
        attached = False
        try:
            self.client.create_training_job(**request)
        except ClientError as error:
            theirs = [tag for tag in request.get("Tags", ()) if not tag["Key"].startswith(TAG_PREFIX)]
            if is_denied(error) and "AddTags" in str(error) and len(theirs) < len(request.get("Tags", ())):
                # A create with tags needs the permission to add them. The training is worth more than our marks.
                self.marks.log_denial("sagemaker:AddTags")
                untagged = {field: value for field, value in request.items() if field != "Tags"}
                return self.submit({**untagged, **({"Tags": theirs} if theirs else {})}, run_key)
            if error.response["Error"]["Code"] != "ResourceInUse":
                refusal = _create_error(error, request)
                # It may be the answer to a create that was repeated, by botocore too: then the first made the job.
                if not isinstance(refusal, CreateRefusedError) or self.find(name) is None:
                    # Not "from": a traceback would tell what SageMaker repeats of the request.
                    raise refusal from None
            attached = True
        description = self._seen(name)
        if description is None and attached:
            # Deleted, or not to be seen yet: the next try finds out.
            raise SpotTrainingError(
                f"CreateTrainingJob says {name} exists, but DescribeTrainingJob does not find it (deleted meanwhile?)"
            )
        if description is None:
            raise JobNotVisibleError(f"CreateTrainingJob accepted {name}, but DescribeTrainingJob does not find it yet")
        if (description.get("Environment") or {}).get(ENV_RUN) != run_key:
            raise RequestError(
                f"Training job name {name} is already used outside this run; delete that job or change TrainingJobName"
            )
        return description, attached

    def stop(
        self,
        job_name: str,
        mark: StopMark,
        *,
        owner: int | None = None,
        client: Any = None,
        pauses: Sequence[float] = (),
    ) -> str | None:
        """Stop a job, marked as ours: see :meth:`airflow_spot.aws.marks.Marks.stop`."""
        return self.marks.stop(job_name, mark, owner=owner, client=client or self.client, pauses=pauses)

    def upload_source(self, archive: SourceArchive, location: str) -> str:
        """
        Put a script's archive into S3, once per content.

        :param location: an S3 URI.
        :return: the archive's S3 URI.
        """
        uri = archive.uri(location)
        bucket, key = S3Hook.parse_s3_url(uri)
        if not self.s3_hook.check_for_key(key, bucket):
            self.s3_hook.load_bytes(archive.content, key, bucket, replace=True)
            self.log.info("Uploaded %s (%d bytes) to %s", archive.entry_point, len(archive.content), uri)
        return uri

    def configure_s3_resources(self, config: Mapping[str, Any]) -> None:
        """Do the config's ``S3Operations`` as the stock hook does, but so that a retry can do them again."""
        operations = read_s3_operations(config.get("S3Operations"))
        for bucket in operations.buckets:
            if not self.s3_hook.check_for_bucket(bucket):
                self.s3_hook.create_bucket(bucket, region_name=self.conn_region_name)
        for upload in operations.uploads:
            if upload.tar:
                self.tar_and_s3_upload(upload.path, upload.key, upload.bucket)
            else:
                self.s3_hook.load_file(upload.path, upload.key, upload.bucket, replace=True)

    # ---- inside

    def _seen(self, job_name: str) -> dict[str, Any] | None:
        """Describe a job that exists: it may show some seconds after its create."""
        for pause in UNSEEN_PAUSES:
            if (description := self.find(job_name)) is not None:
                return description
            self._sleep(pause)
        return self.find(job_name)

    def summaries(self, name_contains: str, since: datetime | None = None) -> list[Mapping[str, Any]] | None:
        """
        List jobs of ours, newest first, as ListTrainingJobs sums them up; None, said, where that is not permitted.

        :param name_contains: a part of their names.
        :param since: only those that were created since; None for all.
        """
        try:
            return list(jobs.summaries(self.client, name_contains, since))
        except ClientError as error:
            if not is_denied(error):
                raise
            self.log.warning(
                "Without sagemaker:ListTrainingJobs, attempts are found by their derived names only; after a change of "
                "TrainingJobName earlier attempts would not be found"
            )
            return None

    def listed(self, name_contains: str) -> list[str]:
        """List jobs by a part of their names; empty, said, where that is not permitted."""
        return [str(line["TrainingJobName"]) for line in self.summaries(name_contains) or ()]

    def live_writers(self, checkpoint_s3_uri: str, but_run: str) -> list[str]:
        """
        Find live jobs of other runs of ours that write to a checkpoint folder, to one in it, or to one around it.

        Asked again, only what was created since is listed.
        """
        folders = self._live_folders.setdefault(but_run, LiveFolders(lambda: self.client, but_run))
        # A job restores all that lies below its folder, and deletes there what its script deletes.
        writers = [name for name, uri in folders.look().items() if overlaps(checkpoint_s3_uri, uri)]
        # One that was found by an earlier look may have ended since.
        return [name for name in writers if (job := self.find(name)) is not None and is_live(job)]


def _create_error(error: ClientError, request: Mapping[str, Any]) -> Exception:
    name, code = request["TrainingJobName"], error.response["Error"]["Code"]
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") or 400)
    said = str(error.response["Error"].get("Message") or "")
    outcome, message = classify_refusal(code, status, said), redact(said, request)
    refused = {
        Outcome.QUOTA_TOO_SMALL: f"Training job {name} cannot start: {read_limit(said)}. SageMaker says: {message}",
        Outcome.QUOTA_EXCEEDED: f"An account limit keeps training job {name} from starting: {message} "
        "Request an increase in the Service Quotas console, service Amazon SageMaker",
        Outcome.NO_CAPACITY: f"No capacity for training job {name}: {message}",
    }
    if outcome in refused:
        return CreateRefusedError(outcome, refused[outcome])
    if is_denied(error):
        return RequestError(f"Access denied: sagemaker:CreateTrainingJob for training job {name}: {message}")
    if outcome is Outcome.INVALID_REQUEST:
        return RequestError(f"SageMaker refuses training job {name}: {message}")
    if outcome is None:
        return ClientError({**error.response, "Error": {"Code": code, "Message": message}}, error.operation_name)
    return SpotTrainingError(f"SageMaker refuses training job {name} ({code}): {message}")
