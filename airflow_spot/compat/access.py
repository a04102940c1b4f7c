"""Who asks for a page, and what Airflow's auth manager lets them see; each entry says when it can go.

For the API server, or Airflow 2's webserver. Ids are given by hand: Airflow 3.0's own check reads them from its routes
alone, and lets a stranger in where they stand elsewhere.
"""

from __future__ import annotations

from dataclasses import fields
from importlib import import_module
from inspect import signature
from typing import Any


def token_by_script() -> bool:
    """
    Return whether a browser sends no credentials by itself, on Airflow 3: its script keeps the token.

    So it is with 3.0 and the first 3.1, which read no cookie. Goes when Airflow 3.1 is no longer supported.
    """
    from airflow.api_fastapi.core_api.security import get_user

    return "request" not in signature(get_user).parameters


class Airflow3Viewer:
    """A user of Airflow 3's auth manager."""

    def __init__(self, user: Any) -> None:
        from airflow.api_fastapi.app import get_auth_manager

        self._user = user
        self._manager: Any = get_auth_manager()

    @property
    def name(self) -> str:
        """What the audit log calls them."""
        return str(self._user.get_name())

    def may_read(self, dag_id: str) -> bool:
        """Return whether they may see the task instances of a DAG."""
        return self._may("GET", dag_id)

    def may_edit(self, dag_id: str) -> bool:
        """Return whether they may change the task instances of a DAG, as for marking one failed."""
        return self._may("PUT", dag_id)

    def readable(self, dag_ids: frozenset[str]) -> frozenset[str]:
        """Return those of some DAGs whose task instances they may see."""
        permitted = self._manager.get_authorized_dag_ids(user=self._user, method="GET") if dag_ids else set()
        return frozenset(dag_id for dag_id in dag_ids & permitted if self.may_read(dag_id))

    def _may(self, method: str, dag_id: str) -> bool:
        from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity

        return bool(
            self._manager.is_authorized_dag(
                method=method, access_entity=DagAccessEntity.TASK_INSTANCE, details=_details(dag_id), user=self._user
            )
        )


class Airflow2Viewer:
    """The user of Airflow 2's session, inside of a request. Goes when 2.11 is no longer supported."""

    def __init__(self, manager: Any) -> None:
        self._manager = manager

    @property
    def name(self) -> str:
        """What the audit log calls them."""
        return str(self._manager.get_user_name()) if self._manager.is_logged_in() else "anonymous"

    def may_read(self, dag_id: str) -> bool:
        """Return whether they may see the task instances of a DAG."""
        return self._may("GET", dag_id)

    def may_edit(self, dag_id: str) -> bool:
        """Return whether they may change the task instances of a DAG, as for marking one failed."""
        return self._may("PUT", dag_id)

    def readable(self, dag_ids: frozenset[str]) -> frozenset[str]:
        """Return those of some DAGs whose task instances they may see."""
        permitted = self._manager.get_permitted_dag_ids(methods=["GET"]) if dag_ids else set()
        return frozenset(dag_id for dag_id in dag_ids & permitted if self.may_read(dag_id))

    def _may(self, method: str, dag_id: str) -> bool:
        kinds = _airflow_2("auth.managers.models.resource_details")
        entity, details = kinds.DagAccessEntity.TASK_INSTANCE, kinds.DagDetails(id=dag_id)
        try:
            return bool(self._manager.is_authorized_dag(method=method, access_entity=entity, details=details))
        except AttributeError:
            # FAB looks for the parent of a DAG with a dot in its name; there is no such DAG. So all DAGs are asked for.
            every = self._manager.is_authorized_dag
            return bool(every(method=method) and every(method=method, access_entity=entity))


def airflow_2_viewer() -> Airflow2Viewer | None:
    """Return who is logged in, or the public where it has rights; None where nobody is."""
    manager = _airflow_2("www.extensions.init_auth_manager").get_auth_manager()
    website = _airflow_2("auth.managers.models.resource_details").AccessView.WEBSITE
    known = manager.is_logged_in() or manager.is_authorized_view(access_view=website)
    return Airflow2Viewer(manager) if known else None


def form_tokens() -> Any:
    """Return what asks for a token of each form in Airflow 2's webserver."""
    return _airflow_2("www.app").csrf


def _airflow_2(module: str) -> Any:
    return import_module(f"airflow.{module}")


def _details(dag_id: str) -> Any:
    from airflow.api_fastapi.auth.managers.models.resource_details import DagDetails

    if "team_name" not in {field.name for field in fields(DagDetails)}:  # goes when Airflow 3.1 is no longer supported
        return DagDetails(id=dag_id)
    from airflow.configuration import conf
    from airflow.models.dag import DagModel

    in_teams = conf.getboolean("core", "multi_team", fallback=False)
    return DagDetails(id=dag_id, team_name=DagModel.get_team_name(dag_id) if in_teams else None)
