from __future__ import annotations

from airflow_spot.render import routes


def test_ids_are_in_the_path_and_encoded() -> None:
    path = routes.task("/af/airflow-spot", "a/b", "manual__2026+00:00", "group.t?x", 3)
    assert path == "/af/airflow-spot/run/a%2Fb/manual__2026%2B00%3A00/group.t%3Fx/3"
    assert routes.fragment("/af/airflow-spot", path).startswith("/af/airflow-spot/fragment/run/a%2Fb/")
    assert routes.action("/af/airflow-spot", path, routes.STOP) == path.replace("/run/", "/act/run/", 1) + "/stop"
    assert routes.static("", "spot.css") == "/static/spot.css"
