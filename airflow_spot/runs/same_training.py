"""What of a change is only another name: an archive, or a channel, that was sent again and holds the same."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_spot.aws.same_content import same_archive, same_folder
from airflow_spot.core.plan import Plan

if TYPE_CHECKING:
    from airflow_spot.hooks.training import SageMakerSpotTrainingHook

_PROGRAM, _ARCHIVE = "sagemaker_program", "sagemaker_submit_directory"
#: What DescribeTrainingJob adds to a channel that does not say.
_DEFAULTS = (None, "None", "FullyReplicated")


def still_changed(hook: SageMakerSpotTrainingHook, plan: Plan, job_name: str, names: Sequence[str]) -> list[str]:
    """
    Return what of a training's changed parts has another content too.

    A config that SageMaker's SDK makes sends the script when the DAG is parsed, to a key with the time in it: each
    parse looks as a change. What cannot be read counts as changed. Nothing is asked where no such part changed.

    :param job_name: what the training is compared with.
    :param names: of the parts, as ``core.marks.changed_fields`` names them.
    """
    looked_at = [name for name in names if name in _COMPARED]
    if not looked_at:
        return list(names)
    if job_name not in hook.compared:
        hook.compared[job_name] = {}
    known = hook.compared[job_name]
    description = hook.find(job_name) or {} if any(name not in known for name in looked_at) else {}
    for name in looked_at:
        if name not in known:
            known[name] = _same(hook, name, plan.request, description)
            if known[name]:
                hook.log.info("The %s of job %s had another place in S3, and the same content", name, job_name)
    return [name for name in names if not known.get(name)]


def _same(hook: SageMakerSpotTrainingHook, name: str, ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> bool:
    try:
        return _COMPARED[name](hook.s3_hook.get_conn(), ours, theirs)
    except Exception:  # not seen is not the same
        return False


def _same_script(client: Any, ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> bool:
    mine, other = (_script(request) for request in (ours, theirs))
    return mine[_PROGRAM] == other[_PROGRAM] and same_archive(client, mine[_ARCHIVE], other[_ARCHIVE])


def _same_channels(client: Any, ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> bool:
    mine, other = (
        [_channel(channel) for channel in request.get("InputDataConfig") or ()] for request in (ours, theirs)
    )
    if [rest for _, rest in mine] != [rest for _, rest in other]:
        return False
    pairs = [(one, two, rest) for (one, rest), (two, _) in zip(mine, other, strict=True) if one != two]
    return all(
        rest["S3DataType"] == "S3Prefix" and bool(one) and bool(two) and same_folder(client, one, two)
        for one, two, rest in pairs
    )


_COMPARED = {"script": _same_script, "channels": _same_channels}


def _script(request: Mapping[str, Any]) -> dict[str, str]:
    given = request.get("HyperParameters") or {}
    return {name: _plain(str(given.get(name) or "")) for name in (_PROGRAM, _ARCHIVE)}


def _plain(text: str) -> str:
    """Take the quotes off that the SDK puts around a hyperparameter."""
    try:
        read = json.loads(text)
    except ValueError:
        return text
    return read if isinstance(read, str) else text


def _channel(channel: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return where a channel's data is, and what else it says."""
    rest = {name: value for name, value in channel.items() if name != "DataSource" and value not in _DEFAULTS}
    sources = dict(channel.get("DataSource") or {})
    inner = dict(sources.pop("S3DataSource", None) or {})
    uri = str(inner.pop("S3Uri", ""))
    rest |= {name: value for name, value in inner.items() if value not in _DEFAULTS} | {"others": sources}
    return uri, rest
