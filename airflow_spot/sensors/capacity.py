"""Wait until spot capacity can be had."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from airflow.configuration import conf
from airflow.providers.amazon.aws.sensors.base_aws import AwsBaseSensor
from airflow.providers.amazon.aws.utils.mixins import aws_template_fields

from airflow_spot import config as settings
from airflow_spot.compat.sdk import (
    AirflowException,
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    PokeReturnValue,
    is_reschedule,
)
from airflow_spot.core.attempt import Attempt
from airflow_spot.core.capacity_wait import Verdict, Window, by_price, by_score
from airflow_spot.core.durations import human, seconds
from airflow_spot.core.ladder import read_types
from airflow_spot.core.parameter_errors import InvalidParameterError
from airflow_spot.core.plan import SpotSettings, build_plan
from airflow_spot.core.probe import probe_config, probe_ladder
from airflow_spot.core.run_state import WatchedJob
from airflow_spot.core.stop_reasons import StopReason
from airflow_spot.core.templates import is_template
from airflow_spot.core.totals import total
from airflow_spot.hooks.training import SageMakerSpotTrainingHook
from airflow_spot.runs.money import find_prices, market_of
from airflow_spot.runs.namespace import namespace_for
from airflow_spot.runs.probing import Granted, Probing, Waiting
from airflow_spot.runs.task_context import identity_of, try_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_spot.compat.sdk import Context

_WAYS = ("probe", "score", "price", "window")
#: Seconds between looks at figures, which are read once an hour at most, and between creates of probes.
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
        max_price_share: float = 0.5,
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
        self._told = ""
        self._check()

    def execute(self, context: Context) -> Any:
        """Wait, in a worker or in the triggerer."""
        if self.deferrable:
            until = datetime.now(timezone.utc) + timedelta(seconds=self.timeout)
            return self._wait_on(context, until.timestamp(), None)
        with self._nothing_left():
            return super().execute(context)

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> Any:
        """Look again where the trigger fired."""
        state = (event or {}).get("run_state") or {}
        if state.get("try") != context["ti"].try_number:
            # Airflow 3.0 keeps where a deferred task was to continue, and hands it to the next try.
            return self.execute(context)
        return self._wait_on(context, float(state["until"]), state.get("number"))

    def poke(self, context: Context) -> PokeReturnValue:
        """Look once."""
        found, _ = self._look(context, None)
        return PokeReturnValue(is_done=found is not None, xcom_value=found)

    def on_kill(self) -> None:
        """Stop the probe of a killed task. Never raises: Airflow calls it from a signal handler."""
        if self._probing is None:
            return
        try:
            self._probing.stop(StopReason.KILLED, in_signal=True)
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
        if not isinstance(self.instance_count, int) or self.instance_count < 1:
            raise InvalidParameterError("instance_count", self.instance_count, "must be a whole number of at least 1")
        if not isinstance(self.min_score, int) or not 1 <= self.min_score <= 10:
            raise InvalidParameterError("min_score", self.min_score, "must be a whole number from 1 to 10")
        if not 0 < self.max_price_share <= 1:
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

    def _look(self, context: Context, number: int | None) -> tuple[dict[str, Any] | None, Waiting]:
        """Look once; return the result or, behind it, what is waited for."""
        now = datetime.now(timezone.utc)
        window = self._window()
        if window is not None and not window.is_open(now) and (self._probing is None or self._probing.live is None):
            opens = window.opens(now)
            self._tell(f"The window {window} opens at {opens.isoformat(timespec='minutes')}")
            return None, Waiting(None, opens, "")
        if self.by == "window":
            return self._result(Verdict(self._types()[0], f"the window {window} is open", {})), Waiting(None, None, "")
        if self.by == "probe":
            return self._probe(context, number)
        verdict = self._judge(now)
        if not verdict.done:
            self._tell(verdict.why)
            return None, Waiting(None, now + timedelta(seconds=max(self.poke_interval, _FIGURES_INTERVAL)), verdict.why)
        return self._result(verdict), Waiting(None, None, "")

    def _judge(self, now: datetime) -> Verdict:
        market, types = market_of(self.hook), self._types()
        if self.by == "score":
            return by_score(types, market.placement_scores(types, self.instance_count), self.min_score)
        held = seconds("price_for", self.price_for)
        spot, full = market.spot_prices(types), market.ec2_on_demand_prices(types)
        return by_price(types, spot, full, self.max_price_share, held, now)

    def _probe(self, context: Context, number: int | None) -> tuple[dict[str, Any] | None, Waiting]:
        if self._probing is None:
            run = identity_of(context, namespace_for(lambda: self.hook.endpoint_url))
            ladder = probe_ladder(self._types(), self.instance_count)
            plan_of = SpotSettings(use_spot_instances=True, use_checkpoints=False, ladder=ladder)
            plan = build_plan(probe_config(self.config or {}), plan_of, run, self.hook.request_shape)
            wait = seconds("probe_wait", self.probe_wait)
            self._probing = Probing(self.hook, plan, try_of(context, self.retries), wait, self.log, number)
            self._plan = plan
        found = self._probing.look()
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
        """Say what is waited for, once."""
        if why and why != self._told:
            self._told = why
            self.log.info("%s", why[0].upper() + why[1:])

    def _wait_on(self, context: Context, until: float, number: int | None) -> Any:
        try:
            return self._look_or_defer(context, until, number)
        except AirflowException as error:
            # As the base class does, which is not asked here.
            if self.never_fail or (self.soft_fail and isinstance(error, (AirflowFailException, AirflowSensorTimeout))):
                raise AirflowSkipException(str(error)) from error
            raise

    def _look_or_defer(self, context: Context, until: float, number: int | None) -> Any:
        with self._nothing_left():
            found, waiting = self._look(context, number)
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
                    "number": self._probing.number if self._probing else number,
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

    @contextmanager
    def _nothing_left(self) -> Iterator[None]:
        """Stop the probe where the task ends without a result; one that is rescheduled finds it again."""
        try:
            yield
        except BaseException as ending:
            if self._probing is not None and not is_reschedule(ending):
                try:
                    self._probing.stop(StopReason.PROBE)
                except Exception as error:
                    self.log.warning("The probe could not be stopped (%s): it ends by itself", type(error).__name__)
            raise
