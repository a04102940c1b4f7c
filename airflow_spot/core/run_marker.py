"""The object in a run's checkpoint folder that says whose it is: only what it proves is ever deleted."""

from __future__ import annotations

import json

from airflow_spot.core.identity import RunIdentity, run_folder

#: Beside the generations' folders, so SageMaker neither restores nor syncs it.
MARKER_NAME = "airflow-spot-run.json"
_IDS = ("namespace", "dag_id", "run_id", "task_id", "map_index")


def marker_text(run: RunIdentity) -> str:
    """Return what the marker of a run holds."""
    return json.dumps({"v": 1, **{name: getattr(run, name) for name in _IDS}})


def owner_of(folder: str, text: str) -> RunIdentity | None:
    """
    Return the run that a folder is of, as its marker says; None where the marker does not fit the folder.

    :param folder: of a run, an S3 URI. Its name holds hashes of the ids, so a marker that was copied proves nothing.
    :param text: the marker's.
    """
    try:
        found = json.loads(text)
        run = RunIdentity(*(found[name] for name in _IDS))
        return run if folder.rstrip("/").endswith(run_folder("", run)) else None
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
