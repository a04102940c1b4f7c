"""What the lint says of a script, told in the task's log before a run's first job."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from airflow_spot.aws.source_archive import SourceArchive
from airflow_spot.core.script_lint import CHECKPOINTS, Report, lint
from airflow_spot.core.script_lint.options import options_naming
from airflow_spot.observers import Log

#: Findings that are told; the command shows all.
SHOWN = 4


def warn_of_faults(source: SourceArchive, request: Mapping[str, Any], log: Log) -> None:
    """
    Warn of faults that are seen in a script. Raises nothing: it may be wrong, and the training is what counts.

    :param request: of the job: where its checkpoints are, and which arguments name that folder.
    """
    if not source.program.endswith(".py"):
        return
    folder = (request.get("CheckpointConfig") or {}).get("LocalPath") or CHECKPOINTS
    try:
        report = _lint(
            source, source.digest, folder, tuple(options_naming(request.get("HyperParameters") or {}, folder))
        )
    except Exception as error:
        log.info("The script was not checked for what an interruption would show (%s)", type(error).__name__)
        return
    for each in report.unreadable:
        if each.path == source.program:
            log.info("%s was not checked for what an interruption would show: %s", each.path, each.why)
    for found in report.findings[:SHOWN]:
        log.warning("%s. %s", found, found.fix[:1].upper() + found.fix[1:])
    if report.findings:
        more = len(report.findings) - SHOWN
        log.warning(
            "The script has a fault that only an interruption would show%s. `airflow-spot lint` checks it anywhere; "
            "a comment `# airflow-spot: ignore[RULE]` on its line or lint=False silences this",
            f", and {more} more of them" if more > 0 else "",
        )


@lru_cache(maxsize=64)
def _lint(source: SourceArchive, digest: str, folder: str, options: tuple[str, ...]) -> Report:
    return lint(source.sources, source.program, folder=folder, options=options)
