"""The training script: whether an interruption would cost more than it has to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from airflow_spot.core.script_lint import CHECKPOINTS, lint
from airflow_spot.preflight.findings import PreflightFinding, Severity, not_checked
from airflow_spot.preflight.wanted import Wanted

#: With these an interruption on spot costs all that was trained.
_ALL_LOST = frozenset({"no-checkpoint-path", "never-loads", "never-saves"})


def check_script(
    sources: Mapping[str, bytes],
    entry_point: str,
    wanted: Wanted,
    *,
    folder: str = CHECKPOINTS,
    options: Iterable[str] = (),
) -> list[PreflightFinding]:
    """
    Return what the lint finds in a script.

    :param sources: the files that are sent, by relative path.
    :param folder: where it writes its checkpoints.
    :param options: arguments of the script that are known to name that folder.
    """
    keeps = any(place.kind == "checkpoints" for place in wanted.places) or not wanted.places
    interrupted = keeps and any(rung.on_spot for rung in wanted.rungs)
    report = lint(sources, entry_point, folder=folder, options=options)
    found = [
        PreflightFinding(
            "script",
            Severity.FAIL if interrupted and each.rule in _ALL_LOST else Severity.WARN,
            "entry_point",
            f"{each.path}:{each.line}",
            f"{each.message} ({each.rule})",
            each.fix,
        )
        for each in report.findings
    ]
    return found + [not_checked("script", "entry_point", each.path, each.why) for each in report.unreadable]
