"""``@task.sagemaker_spot``: a function whose body trains in a SageMaker job on managed spot."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_spot.compat.decorators import DecoratedOperator, task_decorator_factory
from airflow_spot.core.parameter_errors import Described, InvalidParameterError
from airflow_spot.core.parameters import PARAMETERS, TrainingParameters, check_each, check_place_of_members
from airflow_spot.core.plan import DEFAULT_CHECKPOINT_PATH, section
from airflow_spot.decorators._arguments import CHECKPOINT, bind, wants_checkpoint, without_checkpoint
from airflow_spot.decorators._config import SHORT, check_required, make_config
from airflow_spot.decorators._result import NoResultError, read_result
from airflow_spot.decorators._source import function_text, future_of
from airflow_spot.errors import NonRetryableSpotError
from airflow_spot.operators.training import SageMakerSpotTrainingOperator

if TYPE_CHECKING:
    from airflow_spot.compat.decorators import TaskDecorator
    from airflow_spot.compat.sdk import Context
    from airflow_spot.runs.controller import TrainingRun
    from airflow_spot.runs.staging import ScriptMode

#: What is made of a function, and what it is called with (CALL_NAME of airflow_spot.checkpoint.for_taskflow).
PROGRAM, CALL = "airflow_spot_task.py", "airflow_spot_call.json"
REQUIREMENTS = "requirements.txt"
#: The XCom that holds what the operator returns: the job, its savings, its model.
FACTS = "sagemaker_spot"
_SCRIPT = """\
{future}
# Made by @task.sagemaker_spot of the function that follows.


{function}

if __name__ == "__main__":
    from airflow_spot.checkpoint.for_taskflow import Call as __Call
{imported}
    with __Call(__file__) as __call:
        __call.result = {name}(*__call.args, **__call.keywords{injected})
"""
# So written the lint sees what the function is given.
_IMPORTED = "    from airflow_spot.checkpoint import Checkpointer\n"
_INJECTED = f", {CHECKPOINT}=Checkpointer(__call.checkpoints)"
#: Parameters of the operator that a function takes the place of, each with what to do.
_NOT_WITH_A_FUNCTION = {
    "entry_point": "the function is what runs: remove it, or use SageMakerSpotTrainingOperator",
    "adopt_job": "a job that ran something else has no result of the function: use SageMakerSpotTrainingOperator",
}


class SageMakerSpotDecoratedOperator(DecoratedOperator, SageMakerSpotTrainingOperator):
    """
    Train in a SageMaker job that runs a function, with every guarantee of the training operator.

    The function alone is sent, as it stands in its file: what it uses it imports or defines, and what it is given is
    JSON. What it returns is JSON too, and the task's result. The job, its savings and its model are in the XCom
    ``sagemaker_spot``.

    :param python_callable: the function. Where it names a parameter ``checkpoint``, that is a
        ``airflow_spot.checkpoint.Checkpointer`` of the run's folder.
    :param op_args: and ``op_kwargs``, what it is called with (templated).
    :param config: CreateTrainingJob's parameters, as for the operator (templated). What follows is laid over it.
    :param image: ``AlgorithmSpecification.TrainingImage``: an image with the toolkit ``sagemaker-training`` and Python
        3.7 or newer, as AWS's framework images are (templated).
    :param instance_type: ``ResourceConfig.InstanceType`` (templated).
    :param instance_count: ``ResourceConfig.InstanceCount`` (templated). Default: 1. Each instance runs the function;
        the first one's result counts.
    :param volume_size: ``ResourceConfig.VolumeSizeInGB`` (templated). Default: 30.
    :param role: ``RoleArn``, an ARN or a name (templated).
    :param output_path: ``OutputDataConfig.S3OutputPath``, below which code, checkpoints and models go (templated).
    :param inputs: input channels: S3 URIs by name, each a folder that the function finds in ``SM_CHANNEL_<NAME>``
        (templated).
    :param requirements: what pip installs in the container before the function runs, such as ``["xgboost==3.0.5"]``.
    :param source_dir: a folder of modules that the function may import, sent with it; relative to the DAG's file.
    """

    template_fields: Sequence[str] = (
        *DecoratedOperator.template_fields,
        *SageMakerSpotTrainingOperator.template_fields,
        *SHORT,
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {
        **DecoratedOperator.template_fields_renderers,
        **SageMakerSpotTrainingOperator.template_fields_renderers,
    }
    custom_operator_name: str = "@task.sagemaker_spot"
    _facts_key: ClassVar[str | None] = FACTS

    def __init__(
        self,
        *,
        python_callable: Callable[..., Any],
        task_id: str,
        op_args: Collection[Any] | None = None,
        op_kwargs: Mapping[str, Any] | None = None,
        config: Any = None,
        image: str | None = None,
        instance_type: str | None = None,
        instance_count: int | str | None = None,
        volume_size: int | str | None = None,
        role: str | None = None,
        output_path: str | None = None,
        inputs: Mapping[str, str] | None = None,
        requirements: Sequence[str] = (),
        **kwargs: Any,
    ) -> None:
        self.image = image
        self.instance_type = instance_type
        self.instance_count = instance_count
        self.volume_size = volume_size
        self.role = role
        self.output_path = output_path
        self.inputs = inputs
        self.requirements = requirements
        _check(python_callable, {**kwargs, "requirements": requirements})
        super().__init__(
            python_callable=python_callable,
            task_id=task_id,
            op_args=op_args,
            op_kwargs=op_kwargs,
            config=make_config(config, {name: getattr(self, name) for name in SHORT}),
            entry_point=PROGRAM,
            **{name: value for name, value in kwargs.items() if name != "entry_point"},
        )
        _check_config(self.config, self.use_checkpoints)
        check_required(self.config)
        bind(python_callable, self.op_args, self.op_kwargs, rendered=False)
        if getattr(self, "_BaseOperator__from_mapped", False):
            check_place_of_members(kwargs.get("model_s3_uri"))

    def _script(self, parameters: TrainingParameters) -> ScriptMode:
        _check(self.python_callable, {name: getattr(parameters, name) for name in ("source_dir", "use_checkpoints")})
        _check_config(parameters.config, parameters.use_checkpoints)
        made = self.made_files(self.op_args, self.op_kwargs, _checkpoint_path(parameters))
        return self._script_mode(parameters, made)

    def made_files(self, args: Collection[Any], kwargs: Mapping[str, Any], checkpoints: str | None) -> dict[str, bytes]:
        """
        Return what is made of the function, its arguments and its requirements: content by name.

        :param args: and ``kwargs``, the arguments, rendered.
        :param checkpoints: where the script finds its checkpoints; None where SageMaker keeps none.
        """
        call = {
            **bind(self.python_callable, args, kwargs),
            "function": self.python_callable.__name__,
            "checkpoints": checkpoints,
            "mapping": self.multiple_outputs,
        }
        made = {
            PROGRAM: script_of(self.python_callable).encode(),
            CALL: json.dumps(call, sort_keys=True, indent=1).encode(),
        }
        if self.requirements:
            made[REQUIREMENTS] = "".join(f"{line}\n" for line in self.requirements).encode()
        return made

    def _to_return(
        self,
        context: Context,
        run: TrainingRun,
        description: Mapping[str, Any],
        facts: dict[str, Any],
        *,
        ended: bool,
    ) -> Any:
        if self.do_xcom_push:
            context["ti"].xcom_push(key=FACTS, value=facts)
        if not ended:
            return None
        try:
            return read_result(run.hook.s3_hook.get_conn(), description)
        except NoResultError as error:
            raise NonRetryableSpotError(
                f"Training job {description['TrainingJobName']} completed without a result of "
                f"{self.python_callable.__name__}: {error}. Have the function return, and not end the process; then "
                "clear the task with resume=False to train again"
            ) from None


def script_of(function: Any) -> str:
    """Return the script that runs a function in the container: the same whenever the function is."""
    injects = wants_checkpoint(function)
    text = function_text(function)
    return _SCRIPT.format(
        future=future_of(function, text),
        function=text,
        name=function.__name__,
        imported=_IMPORTED if injects else "",
        injected=_INJECTED if injects else "",
    )


def _checkpoint_path(parameters: TrainingParameters) -> str | None:
    """Return where the script finds its checkpoints; None where SageMaker keeps none."""
    if not parameters.use_checkpoints:
        return None
    in_config = section(parameters.config, "CheckpointConfig").get("LocalPath")
    return str(parameters.checkpoint_local_path or in_config or DEFAULT_CHECKPOINT_PATH)


def _check(function: Any, given: Mapping[str, Any]) -> None:
    """Check what a function does not go with, each for itself, as far as it is no template."""
    for name, fix in _NOT_WITH_A_FUNCTION.items():
        if given.get(name) is not None:
            raise InvalidParameterError(name, given[name], fix)
    lines = given.get("requirements")
    if isinstance(lines, str) or not all(isinstance(line, str) and "\n" not in line for line in lines or ()):
        raise InvalidParameterError("requirements", lines, 'give a list of lines for pip, such as ["xgboost==3.0.5"]')
    folder = given.get("source_dir")
    if isinstance(folder, str) and folder.startswith("s3://"):
        raise InvalidParameterError("source_dir", folder, "the function is put into it: name a folder beside the DAG")
    if given.get("use_checkpoints") is False and wants_checkpoint(function):
        raise InvalidParameterError(
            f"@task.sagemaker_spot: {function.__name__}({CHECKPOINT})",
            Described("injected for checkpoints that SageMaker keeps"),
            "remove the parameter, or use_checkpoints=False",
        )


def _check_config(config: Any, use_checkpoints: Any) -> None:
    """Check what a config says with which a job would run something else, or leave its result elsewhere."""
    algorithm, output = (
        section(config, name) if isinstance(config, Mapping) and isinstance(config.get(name), Mapping) else {}
        for name in ("AlgorithmSpecification", "OutputDataConfig")
    )
    for name in ("ContainerEntrypoint", "AlgorithmName"):
        if algorithm.get(name):
            raise InvalidParameterError(
                f"AlgorithmSpecification.{name}", Described("given"), "the function would not run: remove it"
            )
    if use_checkpoints is False and output.get("CompressionType") == "NONE":
        fix = "without checkpoints the result is in the job's output.tar.gz: leave it out, or use_checkpoints=False"
        raise InvalidParameterError("OutputDataConfig.CompressionType", "NONE", fix)


def sagemaker_spot_task(
    python_callable: Callable[..., Any] | None = None, multiple_outputs: bool | None = None, **kwargs: Any
) -> TaskDecorator:
    """
    Make a task of a function: ``@task.sagemaker_spot(image=..., instance_type=..., role=..., output_path=...)``.

    :param python_callable: the function.
    :param multiple_outputs: push each entry of a dict that it returns as an XCom of its own.
    :param kwargs: of :class:`SageMakerSpotDecoratedOperator`, of ``SageMakerSpotTrainingOperator``, and of every task.
    :raises InvalidParameterError: the function cannot run in a job, or something given is wrong.
    """
    if python_callable is None:

        def decorate(function: Callable[..., Any]) -> Any:
            return sagemaker_spot_task(function, multiple_outputs, **kwargs)

        return decorate  # type: ignore[return-value]
    # Of a mapped task Airflow makes no operator when the DAG is parsed: what can be checked is checked here.
    function_text(python_callable)
    _check(python_callable, kwargs)
    check_each({name: value for name, value in kwargs.items() if name in PARAMETERS})
    return task_decorator_factory(
        python_callable=without_checkpoint(python_callable),
        multiple_outputs=multiple_outputs,
        decorated_operator_class=SageMakerSpotDecoratedOperator,
        **kwargs,
    )
