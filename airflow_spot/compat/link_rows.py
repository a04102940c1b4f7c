"""The XCom in which a task's link is kept, by version of Airflow; each entry says when it can go.

It holds the URL, whatever XCom backend there is: Airflow 3 keeps its own links so, and its UI reads nothing else.
"""

from __future__ import annotations

import json
from typing import Any

from airflow import __version__ as airflow_version

#: Whether a link is made where it is shown: Airflow 2's webserver asks it. Goes when 2.11 is no longer supported.
LINKS_ARE_MADE_WHEN_SHOWN = airflow_version.startswith("2.")


def write_link(ti: Any, key: str, url: str) -> None:
    """
    Keep a task's link, over what is there. It blocks.

    :raises Exception: it could not be kept.
    """
    try:
        _write(_ids(ti), key, url)
    except Exception:
        # These are no public functions; and where a backend keeps values elsewhere, a link there is better than none.
        ti.xcom_push(key=key, value=url)


def read_link(ti_key: Any, key: str) -> str:
    """Return a task's link; empty where there is none, or it cannot be read. It blocks."""
    try:
        value = _read(_ids(ti_key), key)
    except Exception:
        return ""  # on Airflow 3.0 a link that raises ends the task
    return value if isinstance(value, str) else ""


def _ids(ti: Any) -> dict[str, Any]:
    index = getattr(ti, "map_index", None)
    return {
        "dag_id": ti.dag_id,
        "run_id": ti.run_id,
        "task_id": ti.task_id,
        "map_index": -1 if index is None else index,
    }


def _write(ids: dict[str, Any], key: str, url: str) -> None:
    if LINKS_ARE_MADE_WHEN_SHOWN:
        from airflow.models.xcom import BaseXCom as Rows

        Rows.set(key=key, value=url, **ids)
        return
    from airflow.sdk.bases.xcom import BaseXCom

    # As Airflow itself does when the task ends, with the same key: there is one row.
    BaseXCom._set_xcom_in_db(key, url, **ids)


def _read(ids: dict[str, Any], key: str) -> Any:
    if LINKS_ARE_MADE_WHEN_SHOWN:
        from airflow.models.xcom import BaseXCom as Rows
        from airflow.utils.session import create_session

        with create_session() as session:
            found = session.query(Rows.value).filter_by(key=key, **ids).scalar()
        return json.loads(found) if found is not None else None
    from airflow.sdk.bases.xcom import BaseXCom

    return BaseXCom._get_xcom_db_ref(key=key, **ids).value
