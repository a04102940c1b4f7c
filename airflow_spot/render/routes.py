"""Paths of the pages, below :attr:`airflow_spot.render.values.Where.base`. Ids stand in the path, percent-encoded."""

from __future__ import annotations

from urllib.parse import quote

#: What a POST of the page's script bears: a form of another site's cannot.
ACTION_HEADER = "X-Airflow-Spot"
STOP, ON_DEMAND = "stop", "on-demand"
#: What a viewer who may edit the task can ask for, by its last part of the path.
ACTIONS = (ON_DEMAND, STOP)


def static(base: str, name: str) -> str:
    """Return where a file of :mod:`airflow_spot.render.assets` is."""
    return f"{base}/static/{_part(name)}"


def fleet(base: str) -> str:
    """Return where the fleet's page is; its filters follow as a query."""
    return f"{base}/"


def fleet_fragment(base: str) -> str:
    """Return where the part of the fleet's page is that changes; the same query follows."""
    return f"{base}/fragment/fleet"


def fleet_csv(base: str) -> str:
    """Return where the fleet is as CSV; the same query follows."""
    return f"{base}/fleet.csv"


def run(base: str, dag_id: str, run_id: str) -> str:
    """Return where the page of a DAG run is: of all its spot trainings."""
    return f"{base}/run/{_part(dag_id)}/{_part(run_id)}"


def task(base: str, dag_id: str, run_id: str, task_id: str, map_index: int) -> str:
    """Return where the page of one task instance is."""
    return f"{run(base, dag_id, run_id)}/{_part(task_id)}/{map_index}"


def fragment(base: str, path: str) -> str:
    """Return where the part of a run's or a task instance's page is that changes."""
    return f"{base}/fragment{path.removeprefix(base)}"


def action(base: str, path: str, name: str) -> str:
    """
    Return where a POST asks for an action; it bears :data:`ACTION_HEADER`.

    :param path: of the task instance's page.
    :param name: one of :data:`ACTIONS`.
    """
    return f"{base}/act{path.removeprefix(base)}/{name}"


def _part(text: str) -> str:
    return quote(text, safe="")
