"""``python -m airflow_spot.local``: the service in the foreground, as ``airflow-spot local`` runs it.

With ``--embedded`` it is :class:`~airflow_spot.local.client.LocalSageMaker`'s other half: the first line of stdin are
its settings, the end of stdin is its own end, and one JSON line on stdout reports that it is ready.
"""

from __future__ import annotations

import json
import os
import sys

from airflow_spot.local.settings import Settings


def embedded() -> int:
    settings = Settings.from_json(sys.stdin.readline())
    try:
        return _serve(settings)
    except ModuleNotFoundError as error:
        message = f"Local SageMaker needs {error.name}: pip install 'airflow-spot[local]'"
        print(message, file=sys.stderr)  # noqa: T201 - LocalSageMaker shows it
        return 2


def _serve(settings: Settings) -> int:
    from airflow_spot.local.app import serve
    from airflow_spot.local.aws.moto import require_moto
    from airflow_spot.local.backend import Backend

    require_moto()

    def ready(backend: Backend) -> None:
        line = {"endpoint_url": backend.aws.endpoint_url, "namespace": backend.containers.namespace}
        os.write(1, json.dumps(line).encode() + b"\n")

    return serve(settings, ready=ready, lifeline=0)


def main() -> int:
    if sys.argv[1:] == ["--embedded"]:
        return embedded()
    from airflow_spot.local.cli import main as command

    return command(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
