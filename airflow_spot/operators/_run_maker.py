"""What a task's rendered parameters say, made into a run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timezone
from functools import partial
from typing import Any

from airflow_spot import config as settings
from airflow_spot.compat.sdk import EXECUTION_TIMEOUT_COUNTS_DEFERRED, Context
from airflow_spot.core.backoff import Backoff
from airflow_spot.core.decide import Limits
from airflow_spot.core.identity import RunIdentity
from airflow_spot.core.ladder import AUTO, counts_differ
from airflow_spot.core.money.prices import Prices
from airflow_spot.core.outcomes import instance_count
from airflow_spot.core.parameters import TrainingParameters, read_parameters
from airflow_spot.core.plan import Plan, build_plan, section
from airflow_spot.core.progress import ProgressRules
from airflow_spot.core.run_state import RunState
from airflow_spot.core.spot_switch import explain as explain_spot
from airflow_spot.core.try_marks import TryMark
from airflow_spot.observers import observers
from airflow_spot.operators._links import TaskLinks
from airflow_spot.policies.ladder import LadderPolicy
from airflow_spot.runs.auto_ladder import ordered
from airflow_spot.runs.controller import TrainingRun
from airflow_spot.runs.ledger_copy import LedgerCopy
from airflow_spot.runs.metrics import RunMetrics
from airflow_spot.runs.money import budget_of, find_prices, market_of, more_prices, table_of
from airflow_spot.runs.preflight import look_ahead
from airflow_spot.runs.staging import InputStager, ScriptMode
from airflow_spot.runs.state import RunOptions
from airflow_spot.runs.task_context import member_of, try_of
from airflow_spot.runs.timeouts import try_deadline


@dataclass(frozen=True)
class Made:
    """
    A run of one try, and what keeps the task's side of it.

    :param types: the order of an automatic ladder; empty without one.
    """

    run: TrainingRun
    parameters: TrainingParameters
    stager: InputStager
    ledger: LedgerCopy
    links: TaskLinks
    metrics: RunMetrics
    types: tuple[str, ...]


def make_run(
    operator: Any, context: Context, identity: RunIdentity, state: RunState | None, waited: RunState | None = None
) -> Made:
    """
    Read a task's rendered parameters, and make the run of them.

    :param operator: a ``SageMakerSpotTrainingOperator``.
    :param state: what a deferral kept; its limit of time is that of the try.
    :param waited: likewise, or of a wait for an adopted job: the run has none of its own yet.
    :raises InvalidParameterError: a parameter is wrong.
    """
    hook, log, begins = operator.hook, operator.log, state is None
    parameters = _read(operator, begins=begins)
    types = _order(hook, parameters, state, log)
    if types:
        parameters = replace(parameters, ladder=list(types))
    script = operator._script(parameters)
    plan = _plan(hook, parameters, identity, script, member_of(operator, context))
    prices = find_prices(
        hook,
        plan,
        log,
        carried=waited.prices if waited else None,
        begins=begins,
        needed=parameters.max_cost is not None,
    )
    if counts_differ(plan.ladder):
        log.warning(
            "Ladder rungs differ in instance_count: rank-sharded checkpoints cannot be restored with another count"
        )
    backoff = Backoff(identity.key)
    lint = log if parameters.lint else None
    stager = InputStager(hook, plan, parameters.config, script, parameters.resume_from, lint=lint)
    ledger = LedgerCopy(identity, hook, context["ti"], log, carried=waited.timeline if waited else "")
    links = TaskLinks(operator, context)
    if begins:
        links.begin()
    this_try = try_of(context, operator.retries)
    metrics = RunMetrics(identity, this_try, log)
    deadline = _deadline(operator, context, parameters, state, waited)
    preflight = parameters.preflight or settings.preflight()
    run = TrainingRun(
        hook=hook,
        plan=plan,
        limits=_limits(parameters, plan, prices, backoff, deadline, this_try, begins=begins),
        policy=LadderPolicy(
            plan.ladder,
            backoff,
            waits_for_quota=parameters.max_total_wait is not None,
            fingerprint=plan.fingerprint,
        ),
        this_try=this_try,
        options=replace(_options(parameters), reports_expected=script is not None and script.reports_progress),
        prepare=stager.stage,
        observers=(
            *observers(log, identity.key, settings.events_file()),
            links.observe,
            ledger.observe,
            metrics.observe,
        ),
        look_ahead=partial(look_ahead, hook, plan, preflight, log, max_cost=parameters.max_cost, prices=prices),
        before_wait=ledger.write,
        log=log,
        prices=prices,
        more_prices=partial(more_prices, hook, log),
    )
    ledger.follow(run)
    return Made(run, parameters, stager, ledger, links, metrics, types)


def _read(operator: Any, *, begins: bool) -> TrainingParameters:
    """Return the rendered parameters, the config as it is sent."""
    operator._read_config_again()
    read_parameters(operator)  # refuses what is wrong before a subclass's preprocess_config meets it
    if operator.deferrable and begins:
        operator._check_config_is_kept()
    with operator._preprocessed():
        parameters = read_parameters(operator)
    if begins:
        for line in explain_spot(
            parameters.config, parameters.use_spot_instances, parameters.max_wait, parameters.rungs
        ):
            operator.log.info(line)
    return parameters


def _order(hook: Any, parameters: TrainingParameters, state: RunState | None, log: Any) -> tuple[str, ...]:
    """Return an automatic ladder's types in their order: a try keeps to the one that it began with."""
    types = parameters.instance_types
    if parameters.ladder != AUTO or types is None:
        return ()
    if state is not None and set(state.types) == set(types):
        return state.types
    count = instance_count(section(parameters.config, "ResourceConfig"))
    return tuple(ordered(market_of(hook, table_of(None)), types, count, log))


def _plan(hook: Any, parameters: TrainingParameters, run: RunIdentity, script: ScriptMode | None, member: str) -> Plan:
    config = dict(parameters.config)
    if script is not None:
        mode = script.hyperparameters(hook.conn_region_name)
        config["HyperParameters"] = {**section(config, "HyperParameters"), **mode}
    plan = build_plan(config, parameters.spot_settings, run, hook.request_shape, member)
    return replace(plan, incomplete=script is not None and script.missing is not None)


def _limits(
    parameters: TrainingParameters,
    plan: Plan,
    prices: Prices | None,
    backoff: Backoff,
    deadline: datetime | None,
    this_try: TryMark,
    *,
    begins: bool,
) -> Limits:
    warning, stuck = parameters.checkpoint_warning_after, parameters.max_starts_without_progress
    return Limits(
        give_up_at=deadline,
        script_errors=parameters.script_error_retries,
        retry_exit_codes=frozenset(parameters.retry_exit_codes),
        max_attempts=parameters.max_attempts,
        max_run=plan.max_run,
        max_total_wait=parameters.max_total_wait,
        max_total_run=parameters.max_total_run,
        backoff=backoff,
        use_checkpoints=plan.checkpoint_base is not None,
        progress=ProgressRules.of(warning, stuck, plan.max_run),
        budget=budget_of(parameters.max_cost, prices, plan, begins=begins, first=this_try.number == 1),
    )


def _deadline(
    operator: Any,
    context: Context,
    parameters: TrainingParameters,
    state: RunState | None,
    waited: RunState | None,
) -> datetime | None:
    """Return when the try gives up: what it began with, where it goes on."""
    if state is not None:
        return state.deadline
    if waited is not None and waited.deadline is not None:
        return waited.deadline
    return try_deadline(
        datetime.now(timezone.utc),
        max_ingestion_time=parameters.max_ingestion_time,
        execution_timeout=operator.execution_timeout,
        deferrable=parameters.deferrable,
        airflow_counts=EXECUTION_TIMEOUT_COUNTS_DEFERRED,
        run_started=getattr(context.get("dag_run"), "start_date", None),
        dagrun_timeout=getattr(operator.dag, "dagrun_timeout", None) if operator.has_dag() else None,
    )


def _options(parameters: TrainingParameters) -> RunOptions:
    interval, stop = parameters.check_interval, parameters.stop_on_kill
    return RunOptions(
        deferrable=parameters.deferrable,
        check_interval=settings.check_interval() if interval is None else interval,
        events_queue_url=settings.events_queue_url(parameters.events_queue_url),
        print_log=parameters.print_log,
        resume=parameters.resume,
        on_config_change=parameters.on_config_change,
        stop_on_kill=settings.stop_on_kill() if stop is None else stop,
    )
