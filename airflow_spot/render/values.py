"""What the pages are made of: the values that whoever serves them hands over."""

from __future__ import annotations

from dataclasses import dataclass

from airflow_spot.render.ledger_format import Summary, Timeline


@dataclass(frozen=True)
class Where:
    """
    Where a page is served, for its links.

    :param base: the prefix of every route, such as ``/airflow-spot`` or ``/af/airflow-spot``, without a slash behind.
    :param airflow: the prefix of Airflow's own pages, such as "" or ``/af``.
    :param embedded: it is shown in a frame of Airflow, which has the title and the navigation.
    :param live: a page that may change asks for its fragment again.
    """

    base: str
    airflow: str = ""
    embedded: bool = False
    live: bool = True


@dataclass(frozen=True)
class Viewed:
    """
    One task instance of a run's page.

    :param state: Airflow's, such as ``deferred``; empty where there is none.
    :param timeline: its ledger; None where there is none, or it cannot be read.
    :param problem: why it cannot be read, a sentence; empty where there is merely none.
    :param links: name and URL: job, logs, checkpoints, model.
    """

    dag_id: str
    run_id: str
    task_id: str
    map_index: int = -1
    state: str = ""
    try_number: int = 0
    timeline: Timeline | None = None
    problem: str = ""
    links: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Actions:
    """
    What a viewer may do to a run.

    :param allowed: may edit the task instance, and actions are not switched off.
    :param commands: name and ``airflow-spot`` command to copy, where the web server cannot reach AWS itself.
    """

    allowed: bool = False
    commands: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class FleetRow:
    """
    One task instance of the fleet's page.

    :param written: when its summary was, in seconds since 1970.
    :param summary: None where it cannot be read; ``problem`` says why.
    """

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    state: str
    written: float
    summary: Summary | None
    problem: str = ""
    owners: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()


@dataclass(frozen=True)
class FleetFilter:
    """
    What the fleet's page shows, as its address says it. Empty shows all.

    :param days: how far back.
    :param sort: a column; with a minus in front, the greatest first.
    """

    days: int = 30
    dag: str = ""
    owner: str = ""
    tag: str = ""
    type: str = ""
    state: str = ""
    sort: str = ""
