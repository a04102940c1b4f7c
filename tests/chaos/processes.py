"""What a forked process is: a worker with one try of a task, or a triggerer with one trigger."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from airflow_spot.compat.sdk import AirflowFailException, AirflowTaskTimeout
from tests.chaos import operators
from tests.support.task import TaskInstance

try:
    from airflow.sdk.exceptions import TaskDeferred
except ImportError:
    from airflow.exceptions import TaskDeferred  # Airflow 2


def warm_up(kind: str) -> None:
    """
    Import and build once what every child needs.

    :param kind: ``ours`` or ``stock``: whose operator they run.
    """
    os.environ.update(AWS_ENDPOINT_URL="http://127.0.0.1:9", AWS_DEFAULT_REGION="us-east-1")
    os.environ.update(AWS_ACCESS_KEY_ID="none", AWS_SECRET_ACCESS_KEY="none")
    for module in ("operators.sagemaker", "triggers.sagemaker"):
        importlib.import_module(f"airflow.providers.amazon.aws.{module}")
    (_warm_up_stock if kind == "stock" else _warm_up_ours)()


def _warm_up_stock() -> None:
    from airflow.providers.amazon.aws.hooks.sagemaker import SageMakerHook

    with contextlib.suppress(ImportError):  # the deferrable mode's, which is an extra
        importlib.import_module("aiobotocore.session")
    hook = SageMakerHook(aws_conn_id="aws_default", region_name="us-east-1")
    hook.get_conn()
    hook.s3_hook.get_conn()
    hook.logs_hook.get_conn()


def _warm_up_ours() -> None:
    for module in ("operators.training", "operators._task_try", "triggers.training", "core.ladder", "errors"):
        importlib.import_module(f"airflow_spot.{module}")
    from airflow_spot.hooks.training import SageMakerSpotTrainingHook

    hook = SageMakerSpotTrainingHook(aws_conn_id="aws_default", region_name="us-east-1")
    hook.get_client_type(region_name="us-east-1")
    _ = hook.request_shape
    hook.s3_hook.get_conn()
    hook.logs_hook.get_conn()


def run(task: dict[str, Any], connection: socket.socket) -> None:
    """Do a task and say what came of it, on a socket of its own."""
    Path(task["log"]).parent.mkdir(parents=True, exist_ok=True)
    log = os.open(task["log"], os.O_CREAT | os.O_APPEND | os.O_WRONLY)
    os.dup2(log, 1)
    os.dup2(log, 2)

    def say(message: dict[str, Any]) -> None:
        connection.sendall(json.dumps(message, default=str).encode() + b"\n")

    # The session token tells the wire whom to kill.
    os.environ.update(task["environ"], AWS_SESSION_TOKEN=str(os.getpid()))
    say({"pid": os.getpid()})
    try:
        (_work if task["role"] == "worker" else _trigger)(task, say)
    except BaseException as error:
        traceback.print_exc()
        say({"failed": f"{type(error).__name__}: {error}", "retry": True})
    sys.stdout.flush()
    sys.stderr.flush()


def _work(task: dict[str, Any], say: Callable[[dict[str, Any]], None]) -> None:
    ti = TaskInstance("train", **task["ti"])
    operator = operators.build(task["operator"])
    operator.retries = task["retries"]

    def on_term(number: int, frame: Any) -> None:
        operator.on_kill()  # and nothing more: Airflow's handler does not end the task

    signal.signal(signal.SIGTERM, on_term)
    if limit := task.get("execution_timeout"):

        def on_alarm(number: int, frame: Any) -> None:
            raise AirflowTaskTimeout(f"execution_timeout of {limit} s")

        signal.signal(signal.SIGALRM, on_alarm)
        signal.setitimer(signal.ITIMER_REAL, limit)
    run = task["dag_run"]
    started, made = (datetime.fromtimestamp(run[name], timezone.utc) for name in ("start_date", "run_after"))
    dag_run = SimpleNamespace(start_date=started, run_after=made, clear_number=run["clear_number"])
    context: Any = {"ti": ti, "task_instance": ti, "dag_run": dag_run}
    try:
        if "event" in task:
            result = getattr(operator, task["method"])(context, event=task["event"])
        else:
            result = operator.execute(context)
    except AirflowTaskTimeout:
        operator.on_kill()  # as Airflow does
        raise
    except TaskDeferred as deferred:
        path, kwargs = deferred.trigger.serialize()
        timeout = deferred.timeout.total_seconds() if deferred.timeout else None
        say({"deferred": {"path": path, "kwargs": kwargs, "method": deferred.method_name, "timeout": timeout}})
    except Exception as error:
        traceback.print_exc()
        retry = not isinstance(error, AirflowFailException)
        say({"failed": f"{type(error).__name__}: {error}", "retry": retry})
    else:
        say({"success": json.loads(json.dumps(result, default=str))})


def _trigger(task: dict[str, Any], say: Callable[[dict[str, Any]], None]) -> None:
    module, _, name = task["path"].rpartition(".")
    trigger = getattr(importlib.import_module(module), name)(**task["kwargs"])
    # There is no scheduler here that could hear of anything late.
    importlib.import_module(module).SETTLING_SECONDS = 0.0  # type: ignore[attr-defined]

    async def first() -> None:
        async for event in trigger.run():
            say({"event": json.loads(json.dumps(event.payload, default=str))})
            return

    async def main() -> None:
        work = asyncio.ensure_future(first())
        loop = asyncio.get_running_loop()
        told: list[asyncio.Future[None]] = []

        def ended_by_user() -> None:
            # Airflow 3.3's triggerer: on_kill, then the cancel.
            async def kill() -> None:
                if hasattr(trigger, "on_kill"):
                    await trigger.on_kill()
                work.cancel()

            told.append(asyncio.ensure_future(kill()))

        loop.add_signal_handler(signal.SIGUSR1, ended_by_user)
        loop.add_signal_handler(signal.SIGTERM, work.cancel)
        try:
            await work
        except asyncio.CancelledError:
            say({"cancelled": True})
        await asyncio.gather(*told)

    asyncio.run(main())
