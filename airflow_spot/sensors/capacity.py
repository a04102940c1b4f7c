"""Wait until spot capacity can be had."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from airflow.configuration import conf
from airflow.providers.amazon.aws.sensors.base_aws import AwsBaseSensor
from airflow.providers.amazon.aws.utils.mixins import aws_template_fields

from airflow_spot import config as settings
from airflow_spot.aws.retrying import summarize_error
from airflow_spot.compat.sdk import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    AirflowTaskTimeout,
    PokeReturnValue,
    is_reschedule,
)
from airflow_spot.core.attempt import Attempt
from airflow_spot.core.capacity_wait import Verdict, Window, by_price, by_score
from airflow_spot.core.durations import human, seconds
from airflow_spot.core.ladder import read_types
from airflow_spot.core.marks import StopMark
from airflow_spot.core.money.totals import total
from airflow_spot.core.parameter_errors import InvalidParameterError
from airflow_spot.core.plan import SpotSettings, build_plan
from airflow_spot.core.probe import probe_config, probe_ladder
from airflow_spot.core.run_state import WatchedJob
from airflow_spot.core.stop_reasons import StopReason
from airflow_spot.core.templates import is_template
from airflow_spot.errors import RunKilledError
from airflow_spot.hooks.training import SageMakerSpotTrainingHook
from airflow_spot.runs.money import find_prices, market_of
from airflow_spot.runs.namespace import namespace_for
from airflow_spot.runs.probing import Granted, Probing, Waiting
from airflow_spot.runs.task_context import identity_of, try_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_spot.compat.sdk import Context
    from airflow_spot.market.reader import Market

_WAYS = ("probe", "score", "price", "window")
#: Seconds between looks at figures in the triggerer's time: they are read once an hour at most.
_FIGURES_INTERVAL = 600.0


class SageMakerSpotCapacitySensor(AwsBaseSensor[SageMakerSpotTrainingHook]):
    """
    Wait until spot capacity can be had for one of several instance types; return the best one, with the figures.

    ``by="probe"`` asks SageMaker itself: a training job of the type wanted, without data and checkpoint, that ends at
    once. Waiting for its instances costs nothing; being granted them costs about a minute. One probe is live at a time.
    ``by="score"`` and ``by="price"`` go by what EC2 says of its own spot instances: a guess about SageMaker's.
    ``by="window"`` waits for a time of day alone. Works in the modes poke and reschedule, and deferrable.

    :param instance_types: such as ``["ml.g5.2xlarge", "ml.g6.2xlarge"]``, in the order of preference, or one, or text
        with commas (templated).
    :param instance_count: how many of one type. Default: 1.
    :param by: ``"probe"``, ``"score"``, ``"price"`` or ``"window"``.
    :param config: of the training that is to follow, for a probe: its role, image, output path and VPC (templated).
    :param probe_wait: how long a probe waits before the next type is asked for: seconds, a ``timedelta``, or text such
        as ``"15m"`` (templated).
    :param min_score: the placement score, 1 to 10, that a type must have. AWS scores a set of fewer than three types
        low. Default: 3.
    :param max_price_share: EC2's spot price as a part of its on-demand price, at most. Default: 0.5.
    :param price_for: for how long the price must have been so low, such as ``"1h"`` (templated).
    :param window: a time of day such as ``"22:00-06:00"``, outside which nothing is asked for (templated).
    :param window_timezone: such as ``"Europe/Berlin"`` (templated). Default: UTC.
    :param deferrable: wait in the triggerer.
    :param aws_conn_id: and ``region_name``, ``verify``, ``botocore_config``: as for every Amazon sensor.
    :return: ``{"instance_type", "by", "why", "figures", "probes", "billable_seconds", "cost"}``; the last three are of
        the probe that was granted.
    """

    aws_hook_class = SageMakerSpotTrainingHook
    template_fields: Sequence[str] = aws_template_fields(
        "instance_types", "config", "probe_wait", "price_for", "window", "window_timezone"
    )
    ui_color: str = "#d6ecd2"

    def __init__(
        self,
        *,
        instance_types: Sequence[str] | str,
        instance_count: int = 1,
        by: str = "probe",
        config: dict[str, Any] | None = None,
        probe_wait: int | str | timedelta = "15m",
        min_score: int = 3,
        max_price_share: float | Decimal = 0.5,
        price_for: int | str | timedelta = "1h",
        window: str | None = None,
        window_timezone: str = "UTC",
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.instance_types = instance_types
        self.instance_count = instance_count
        self.by = by
        self.config = config
        self.probe_wait = probe_wait
        self.min_score = min_score
        self.max_price_share = max_price_share
        self.price_for = price_for
        self.window = window
        self.window_timezone = window_timezone
        self.deferrable = deferrable
        self._probing: Probing | None = None
        self._market: Market | None = None
        self._killed = False
        self._told = ""
        self._check()

    def execute(self, context: Context) -> Any:
        """Wait, in a worker or in the triggerer."""
        if self.deferrable:
            until = datetime.now(timezone.utc) + timedelta(seconds=self.timeout)
            return self._wait_on(context, until.timestamp(), {})
        with self._nothing_left(context):
            return super().execute(context)

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> Any:
        """Look again where the trigger fired."""
        state = (event or {}).get("run_state") or {}
        if state.get("try") != context["ti"].try_number:
            # Airflow 3.0 keeps where a deferred task was to continue, and hands it to the next try.
            return self.execute(context)
        return self._wait_on(context, float(state["until"]), state)

    def poke(self, context: Context) -> PokeReturnValue:
        """Look once."""
        found, _ = self._look(context, {})
        return PokeReturnValue(is_done=found is not None, xcom_value=found)

    def on_kill(self) -> None:
        """Stop the probe of a killed task. Never raises: Airflow calls it from a signal handler."""
        self._killed = True
        if self._probing is None:
            return
        try:
            self._probing.kill()
        except Exception as error:
            self.log.error("The probe could not be stopped: %s. It ends by itself", type(error).__name__)

    # ---- inside

    def _check(self) -> None:
        if self.by not in _WAYS:
            raise InvalidParameterError("by", self.by, f"must be one of {', '.join(_WAYS)}")
        if self.by == "probe" and self.config is None:
            raise InvalidParameterError("config", None, "a probe needs the training's: its role, image and output path")
        if self.by == "window" and self.window is None:
            raise InvalidParameterError("window", None, "name a time of day such as 22:00-06:00")
        if type(self.instance_count) is not int or self.instance_count < 1:
            raise InvalidParameterError("instance_count", self.instance_count, "must be a whole number of at least 1")
        if type(self.min_score) is not int or not 1 <= self.min_score <= 10:
            raise InvalidParameterError("min_score", self.min_score, "must be a whole number from 1 to 10")
        if not isinstance(self.max_price_share, (int, float, Decimal)) or not 0 < self.max_price_share <= 1:
            raise InvalidParameterError("max_price_share", self.max_price_share, "must be above 0, and at most 1")
        for name in ("probe_wait", "price_for"):
            if not is_template(getattr(self, name)):
                seconds(name, getattr(self, name))
        if not is_template(self.instance_types):
            self._types()
        if self.window is not None and not is_template(self.window) and not is_template(self.window_timezone):
            self._window()
        if isinstance(self.config, Mapping) and not is_template(self.config.get("AlgorithmSpecification")):
            probe_config(self.config)

    def _types(self) -> list[str]:
        return list(read_types("instance_types", self.instance_types))

    def _window(self) -> Window | None:
        if not self.window:
            return None
        return Window.read("window", self.window, "window_timezone", self.window_timezone)

    def _look(self, context: Context, state: Mapping[str, Any]) -> tuple[dict[str, Any] | None, Waiting]:
        """Look once; return the result or, behind it, what is waited for. ``state`` is what a deferral kept."""
        now = datetime.now(timezone.utc)
        window = self._window()
        if window is not None and not window.is_open(now):
            return self._rest(context, state, window, now)
        if self.by == "window":
            return self._result(Verdict(self._types()[0], f"the window {window} is open", {})), Waiting(None, None, "")
        if self.by == "probe":
            found, waiting = self._probe(context, state)
            if window is not None and waiting.job is not None:
                closes = window.closes(now)
                waiting = replace(waiting, until=min(waiting.until or closes, closes))
            return found, waiting
        verdict = self._judge(now)
        if not verdict.done:
            self._tell(verdict.why)
            return None, Waiting(None, now + timedelta(seconds=max(self.poke_interval, _FIGURES_INTERVAL)), verdict.why)
        return self._result(verdict), Waiting(None, None, "")

    def _rest(
        self, context: Context, state: Mapping[str, Any], window: Window, now: datetime
    ) -> tuple[dict[str, Any] | None, Waiting]:
        """Ask for nothing while the window is closed; a probe that waits is stopped."""
        opens = window.opens(now)
        if self.by == "probe":
            found, waiting = self._probe(context, state, asks=False)
            if found is not None or waiting.job is not None:
                return found, waiting
        self._tell(f"The window {window} opens at {opens.isoformat(timespec='minutes')}")
        return None, Waiting(None, opens, "")

    def _judge(self, now: datetime) -> Verdict:
        # Kept, so that it knows what it was answered where its folder cannot be written.
        market = self._market = self._market or market_of(self.hook)
        types = self._types()
        if self.by == "score":
            return by_score(types, market.placement_scores(types, self.instance_count), self.min_score)
        held = seconds("price_for", self.price_for)
        spot, full = market.spot_prices(types), market.ec2_on_demand_prices(types)
        return by_price(types, spot, full, float(self.max_price_share), held, now)

    def _probe(
        self, context: Context, state: Mapping[str, Any], *, asks: bool = True
    ) -> tuple[dict[str, Any] | None, Waiting]:
        if self._probing is None:
            run = identity_of(context, namespace_for(lambda: self.hook.endpoint_url))
            ladder = probe_ladder(self._types(), self.instance_count)
            plan_of = SpotSettings(use_spot_instances=True, use_checkpoints=False, ladder=ladder)
            self._plan = build_plan(probe_config(self.config or {}), plan_of, run, self.hook.request_shape)
            wait, this_try = seconds("probe_wait", self.probe_wait), try_of(context, self.retries)
            newest, stopped = state.get("probe"), bool(state.get("stopped"))
            self._probing = Probing(self.hook, self._plan, this_try, wait, self.log, newest, stopped=stopped)
        if self._killed:
            raise RunKilledError("Airflow killed this task")
        found = self._probing.look(asks=asks)
        if isinstance(found, Waiting):
            self._tell(found.why)
            return None, found
        return self._granted(found), Waiting(None, None, "")

    def _granted(self, found: Granted) -> dict[str, Any]:
        probe: Attempt = found.probe
        prices = find_prices(self.hook, self._plan, self.log, carried=None, begins=True)
        cost = total([probe], datetime.now(timezone.utc), prices).cost
        waited = sum(start.waited(probe.ended) for start in probe.starts)
        why = f"probe {probe.job_name} got {probe.placement} after {human(waited)}"
        return {
            **self._result(Verdict(probe.placement.instance_type, why, {})),
            "probes": found.probes,
            "billable_seconds": probe.billable_seconds,
            "cost": None if cost is None else cost.to_json(),
        }

    def _result(self, verdict: Verdict) -> dict[str, Any]:
        self.log.info("Spot capacity for %s: %s", verdict.instance_type, verdict.why)
        return {
            "instance_type": verdict.instance_type,
            "by": self.by,
            "why": verdict.why,
            "figures": dict(verdict.figures),
            "probes": 0,
            "billable_seconds": 0,
            "cost": None,
        }

    def _tell(self, why: str) -> None:
        """Log what is waited for, once."""
        if why and why != self._told:
            self._told = why
            self.log.info("%s", why[0].upper() + why[1:])

    def _wait_on(self, context: Context, until: float, state: Mapping[str, Any]) -> Any:
        try:
            return self._look_or_defer(context, until, state)
        except AirflowSkipException:
            raise
        except (Exception, AirflowTaskTimeout) as error:
            # As the base class does, which is not asked here.
            ends = isinstance(error, (AirflowFailException, AirflowSensorTimeout, AirflowTaskTimeout))
            if self.never_fail or (self.soft_fail and ends):
                raise AirflowSkipException(str(error)) from error
            raise

    def _look_or_defer(self, context: Context, until: float, state: Mapping[str, Any]) -> Any:
        with self._nothing_left(context, state.get("probe")):
            found, waiting = self._look_quietly(context, state)
            if found is not None:
                return found
            now = datetime.now(timezone.utc)
            if now.timestamp() >= until:
                raise AirflowSensorTimeout(f"No spot capacity within {human(self.timeout)}: {waiting.why}")
        from airflow_spot.triggers.training import SageMakerSpotTrainingTrigger

        soon = None if waiting.job is not None else now + timedelta(seconds=self.poke_interval)
        moments = [moment.timestamp() for moment in (waiting.until or soon,) if moment is not None]
        self.defer(
            trigger=SageMakerSpotTrainingTrigger(
                jobs=[WatchedJob(waiting.job, keeps_checkpoints=False).to_json()] if waiting.job else [],
                until=min([until, *moments]),
                poll_interval=self.poke_interval,
                events_queue_url=settings.events_queue_url(None),
                run_state={
                    "until": until,
                    **(self._probing.carried() if self._probing is not None else _carried(state)),
                    "try": context["ti"].try_number,
                },
                stop_on_kill=True,
                try_number=context["ti"].try_number,
                aws_conn_id=self.aws_conn_id,
                region_name=self.region_name,
                verify=self.verify,
                botocore_config=self.botocore_config,
            ),
            method_name="execute_complete",
        )

    def _look_quietly(self, context: Context, state: Mapping[str, Any]) -> tuple[dict[str, Any] | None, Waiting]:
        """Look once; with ``silent_fail``, a look that fails is told and nothing more, as in the base class."""
        try:
            return self._look(context, state)
        except (AirflowFailException, AirflowSensorTimeout, AirflowSkipException):
            raise
        except Exception as error:
            if not self.silent_fail or self._killed:
                raise
            self.log.error("The check failed: %s", summarize_error(error))
            job = self._probing.live if self._probing is not None else state.get("probe")
            again = datetime.now(timezone.utc) + timedelta(seconds=self.poke_interval)
            return None, Waiting(job, again, "the check failed")

    @contextmanager
    def _nothing_left(self, context: Context, waited_for: str | None = None) -> Iterator[None]:
        """
        Stop the probe where the task ends without a result; one that is rescheduled finds it again.

        :param waited_for: the probe that a deferral has waited for.
        """
        try:
            yield
        except BaseException as ending:
            if not is_reschedule(ending):
                try:
                    self._stop(context, waited_for)
                except Exception as error:
                    self.log.warning("The probe could not be stopped (%s): it ends by itself", type(error).__name__)
            raise

    def _stop(self, context: Context, waited_for: str | None) -> None:
        reason = StopReason.KILLED if self._killed else StopReason.PROBE
        if self._probing is not None:
            self._probing.stop(reason)
        elif waited_for is not None:  # the configuration could not be read that it was made of
            number = context["ti"].try_number
            self.hook.stop(waited_for, StopMark(reason, number), owner=number)


def _carried(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a deferral said of the probe, for the next one: nothing was looked at in between."""
    return {name: state[name] for name in ("probe", "stopped") if name in state}
