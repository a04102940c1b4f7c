"""What a training job runs: its entrypoint, its script, or what was given for its image."""

from __future__ import annotations

import shlex
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airflow_spot.local.aws.s3 import S3_ERRORS, S3Uri, download, download_prefix, unpack
from airflow_spot.local.container.container import OptMl
from airflow_spot.local.container.images import Images
from airflow_spot.local.container.requirements import Environments, Start
from airflow_spot.local.errors import JobError
from airflow_spot.local.training.environment import arguments, decode, user_hyperparameters
from airflow_spot.local.training.job import TrainingJob

CODE = "/opt/ml/code"


@dataclass(frozen=True)
class Program:
    """A command, and in script mode the script's path below ``/opt/ml/code``.

    :param shown: in script mode, the command as AWS's containers report it.
    """

    command: list[str]
    script: str | None = None
    shown: str = ""


def program(
    job: TrainingJob, images: Images, environments: Environments, opt_ml: OptMl, start: Start
) -> Generator[float, None, Program]:
    """Return what to run for a job. In script mode, its code must already be there: see :func:`fetch_code`.

    Yields as :meth:`Environments.interpreter` does.

    :param start: starts a command in ``/opt/ml/code``.
    :raises JobError: if there is nothing to run, or its requirements cannot be installed.
    """
    algorithm = job.request.get("AlgorithmSpecification", {})
    image = algorithm.get("TrainingImage")
    extra = list(algorithm.get("ContainerArguments", ()))
    if "ContainerEntrypoint" in algorithm:
        return Program([*algorithm["ContainerEntrypoint"], *extra])
    script = decode(job.request.get("HyperParameters", {})).get("sagemaker_program")
    if script:
        interpreter = yield from environments.interpreter(images.interpreter(image), opt_ml.path(CODE), start)
        return _script(str(script), job, interpreter, opt_ml)
    given = images.entrypoint(image) or images.built_in(image) or images.command(image)
    if given is not None:
        # SageMaker runs an image without an entrypoint of the job's own as `docker run IMAGE train`.
        return Program([*given, *(extra or ["train"])])
    raise JobError(
        f"ClientError: Local SageMaker runs no containers, and no command is configured for image {image!r}. Start it "
        "with --image 'PATTERN=COMMAND', or give the job AlgorithmSpecification.ContainerEntrypoint, or the "
        "hyperparameters sagemaker_program and sagemaker_submit_directory (script mode)."
    )


def _script(script: str, job: TrainingJob, interpreter: list[str], opt_ml: OptMl) -> Program:
    path = f"{CODE}/{script}"
    if not opt_ml.path(path).is_file():
        raise JobError(f"ClientError: sagemaker_program {script!r} is not in sagemaker_submit_directory")
    words = arguments(user_hyperparameters(job))
    if script.endswith(".py"):
        return Program([*interpreter, opt_ml.see(path), *words], script, " ".join([*interpreter, script, *words]))
    line = " ".join(shlex.quote(word) for word in [f"./{script}", *words])
    opt_ml.path(path).chmod(0o755)
    return Program(["/bin/sh", "-c", line], script, f'/bin/sh -c "{line}"')


def fetch_code(job: TrainingJob, s3: Any, opt_ml: OptMl) -> list[Path]:
    """Return the files of the job's code, in script mode after it was unpacked into ``/opt/ml/code``.

    :raises JobError: ClientError, if it cannot be read.
    """
    directory = decode(job.request.get("HyperParameters", {})).get("sagemaker_submit_directory")
    folder = opt_ml.path(CODE)
    if directory and "ContainerEntrypoint" not in job.request.get("AlgorithmSpecification", {}):
        uri = str(directory)
        if not uri.startswith("s3://"):
            raise JobError(
                f"ClientError: sagemaker_submit_directory is {uri!r}; Local SageMaker takes s3://.../sourcedir.tar.gz "
                "or an S3 folder, since there is no image to hold the code"
            )
        if uri.endswith((".tar.gz", ".tgz", ".tar")):
            source = S3Uri.parse(uri)
            archive = opt_ml.host.parent / "sourcedir.tar.gz"
            try:
                download(s3, source.bucket, source.key, archive)
            except S3_ERRORS as error:
                raise JobError(f"ClientError: the code cannot be read from {uri}: {error}") from error
            unpack(archive, folder)
            archive.unlink()
        else:
            download_prefix(s3, uri, folder)
    return [path for path in folder.rglob("*") if path.is_file()]
