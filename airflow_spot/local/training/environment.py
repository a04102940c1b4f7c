"""What a training container finds: the files below ``/opt/ml/input/config`` and the variables ``SM_*``.

As the toolkit ``sagemaker-training`` documents them (its ENVIRONMENT_VARIABLES.md), and the developer guide under "How
Amazon SageMaker AI Provides Training Information". ``SM_CHECKPOINT_DIR`` is ours, and not AWS's: the checkpoint folder
where ``/opt/ml`` is relocated, and only there.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

from airflow_spot.local.container.container import OptMl
from airflow_spot.local.training.job import TrainingJob

DEFAULT_CHECKPOINT_PATH = "/opt/ml/checkpoints"
GROUP = "homogeneousCluster"
OBJECTIVE_PARAMETER = "_tuning_objective_metric"
"""The hyperparameter that holds the objective of the tuning job [D]."""


def decode(hyperparameters: Mapping[str, str]) -> dict[str, Any]:
    """Return hyperparameters as values: the SDK encodes them as JSON; what is not JSON stays the text that it is."""
    values: dict[str, Any] = {}
    for key, text in hyperparameters.items():
        try:
            values[key] = json.loads(text)
        except ValueError:
            values[key] = text
    return values


def user_hyperparameters(job: TrainingJob) -> dict[str, Any]:
    """Return them decoded, without those that the SDK or a tuning job adds for the toolkit's own use."""
    values = decode(job.request.get("HyperParameters", {}))
    return {k: value for k, value in values.items() if not k.startswith("sagemaker_") and k != OBJECTIVE_PARAMETER}


def arguments(hyperparameters: Mapping[str, Any]) -> list[str]:
    """Return hyperparameters as a command line: ``--key value``, sorted; ``-k value`` for a key of one letter."""
    words = []
    for key in sorted(hyperparameters):
        value = hyperparameters[key]
        if isinstance(value, Mapping):
            value = ",".join(f"{name}={value[name]}" for name in sorted(value))
        words += [f"--{key}" if len(key) > 1 else f"-{key}", str(value)]
    return words


def checkpoint_path(job: TrainingJob) -> str | None:
    """Return CheckpointConfig.LocalPath, or its default; None for a job without checkpoints."""
    config = job.request.get("CheckpointConfig")
    return (config.get("LocalPath") or DEFAULT_CHECKPOINT_PATH) if config else None


def channels(job: TrainingJob) -> list[str]:
    """Return the names of the job's channels."""
    return [channel["ChannelName"] for channel in job.request.get("InputDataConfig", ())]


def write_config_files(job: TrainingJob, opt_ml: OptMl, host: str, hosts: Sequence[str]) -> None:
    """Write ``/opt/ml/input/config``, and make the folders that a script expects to be there."""
    for name in ("input/config", "input/data", "model", "output/data", "code"):
        opt_ml.path(f"/opt/ml/{name}").mkdir(parents=True, exist_ok=True)
    request = job.request
    files = {
        "hyperparameters": request.get("HyperParameters", {}),
        "resourceconfig": _resource_config(job, host, hosts),
        "inputdataconfig": {
            channel["ChannelName"]: {
                "TrainingInputMode": "File",
                "S3DistributionType": channel["DataSource"]
                .get("S3DataSource", {})
                .get("S3DataDistributionType", "FullyReplicated"),
                "RecordWrapperType": channel.get("RecordWrapperType", "None"),
                **({"ContentType": channel["ContentType"]} if "ContentType" in channel else {}),
            }
            for channel in request.get("InputDataConfig", ())
        },
    }
    path = checkpoint_path(job)
    if path is not None:
        files["checkpointconfig"] = {"S3Uri": request["CheckpointConfig"]["S3Uri"], "LocalPath": opt_ml.see(path)}
        opt_ml.path(path).mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        opt_ml.path(f"/opt/ml/input/config/{name}.json").write_text(json.dumps(content), encoding="utf-8")


def _resource_config(job: TrainingJob, host: str, hosts: Sequence[str]) -> dict[str, Any]:
    return {
        "current_host": host,
        "current_instance_type": job.instance_type,
        "current_group_name": GROUP,
        "hosts": list(hosts),
        "instance_groups": [{"instance_group_name": GROUP, "instance_type": job.instance_type, "hosts": list(hosts)}],
        "network_interface_name": "lo",
    }


def training_environment(
    job: TrainingJob, opt_ml: OptMl, host: str, hosts: Sequence[str], program: str | None
) -> dict[str, str]:
    """Return all ``SM_*`` variables, TRAINING_JOB_NAME and TRAINING_JOB_ARN.

    :param program: in script mode, the script's path below ``/opt/ml/code``.
    """
    see = opt_ml.see
    values = user_hyperparameters(job)
    framework = {k: v for k, v in decode(job.request.get("HyperParameters", {})).items() if k not in values}
    folders = {name: see(f"/opt/ml/input/data/{name}") for name in channels(job)}
    resource_config = _resource_config(job, host, hosts)
    input_config = json.loads(opt_ml.path("/opt/ml/input/config/inputdataconfig.json").read_text(encoding="utf-8"))
    paths = {
        "model_dir": see("/opt/ml/model"),
        "input_dir": see("/opt/ml/input"),
        "input_config_dir": see("/opt/ml/input/config"),
        "output_dir": see("/opt/ml/output"),
        "output_data_dir": see("/opt/ml/output/data"),
        "output_intermediate_dir": see("/opt/ml/output/intermediate"),
    }
    facts: dict[str, Any] = {
        **paths,
        "channels": sorted(folders),
        "hps": values,
        "hosts": list(hosts),
        "current_host": host,
        "current_instance_type": job.instance_type,
        "current_instance_group": GROUP,
        "current_instance_group_hosts": list(hosts),
        "num_cpus": os.cpu_count() or 1,
        "num_gpus": 0,
        "resource_config": resource_config,
        "input_data_config": input_config,
        "network_interface_name": "lo",
        "log_level": 20,
        "user_args": arguments(values),
        "framework_params": framework,
        "training_env": {
            **paths,
            "channel_input_dirs": folders,
            "current_host": host,
            "hosts": list(hosts),
            "hyperparameters": values,
            "input_data_config": input_config,
            "is_master": host == hosts[0],
            "job_name": job.name,
            "num_cpus": os.cpu_count() or 1,
            "num_gpus": 0,
            "resource_config": resource_config,
        },
    }
    if program is not None:
        module = re.sub(r"\.py$", "", program).replace("/", ".")
        facts.update(module_name=module, module_dir=see("/opt/ml/code"), user_entry_point=program)
        facts["training_env"].update(module_name=module, module_dir=facts["module_dir"], user_entry_point=program)
    path = checkpoint_path(job)
    if path is not None and see(path) != os.path.normpath(path):
        facts["checkpoint_dir"] = see(path)
    environment = {f"SM_{key.upper()}": _text(value) for key, value in facts.items()}
    environment.update({f"SM_CHANNEL_{_variable(name)}": folder for name, folder in folders.items()})
    environment.update({f"SM_HP_{_variable(name)}": _text(value) for name, value in values.items()})
    environment.update(TRAINING_JOB_NAME=job.name, TRAINING_JOB_ARN=job.arn)
    return environment


def _variable(name: str) -> str:
    return re.sub(r"[^A-Z0-9_]", "_", name.upper())


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)
