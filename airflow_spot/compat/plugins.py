"""The differences between Airflow versions that the plugin meets; each entry says when it can go.

Apart from ``compat.py``, so that DAG files do not load it.
"""

from __future__ import annotations

from importlib.util import find_spec

from airflow.plugins_manager import AirflowPlugin

#: Whether pages are served by Flask rather than FastAPI: goes when Airflow 2.11 is no longer supported.
SERVES_BY_FLASK = find_spec("airflow.sdk") is None

#: Whether a plugin adds to the navigation by an external view; below 3.1 it is by a menu item, which 3.1 and above
#: would show a second time: goes when Airflow 3.0 is no longer supported.
HAS_EXTERNAL_VIEWS = hasattr(AirflowPlugin, "external_views")

#: Whether a menu item is shown. Airflow 3.0 gives menu items to the FAB provider, and without it its API server ends
#: at the first plugin that has any: goes when Airflow 3.0 is no longer supported.
HAS_MENU_ITEMS = not HAS_EXTERNAL_VIEWS and (SERVES_BY_FLASK or find_spec("airflow.providers.fab") is not None)
