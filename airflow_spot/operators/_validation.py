"""Bad input is met when a DAG is parsed, where it is known by then; a template is checked when it is rendered."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow_spot.core import spot_rules
from airflow_spot.core.durations import interval, seconds
from airflow_spot.core.locations import check_queue_url
from airflow_spot.core.parameter_errors import InvalidParameterError
from airflow_spot.core.plan import SpotSettings, apply_settings, check_config, check_groups, check_ladder
from airflow_spot.core.templates import is_template

_DURATIONS = ("max_total_wait", "max_total_run", "checkpoint_retention", "max_ingestion_time")


def check_literals(operator: Any, settings: SpotSettings) -> None:
    """
    Check what an operator was given, as far as it is no template.

    :param settings: its parameters, as the plan takes them.
    :raises InvalidParameterError: naming the parameter, its value and the fix.
    """
    _check_choice("action_if_job_exists", operator.action_if_job_exists, "timestamp", "fail")
    if not is_template(operator.checkpoint_scope):
        _check_choice("checkpoint_scope", operator.checkpoint_scope, "run", "exact")
    if not is_template(operator.on_config_change):
        check_on_config_change(operator.on_config_change)
    check_ladder(operator.ladder, operator.use_spot_instances)
    for name in _DURATIONS:
        value = getattr(operator, name)
        if value is not None and (isinstance(value, timedelta) or not _rendered_later(operator, name)):
            seconds(name, value)
    if operator.check_interval is not None and not _rendered_later(operator, "check_interval"):
        interval("check_interval", operator.check_interval)
    if operator.events_queue_url is not None and not is_template(operator.events_queue_url):
        check_queue_url("events_queue_url", operator.events_queue_url)
    if operator.source_dir is not None and operator.entry_point is None:
        raise InvalidParameterError("source_dir", operator.source_dir, "name the script in it as entry_point")
    if not _rendered_later(operator, "config"):
        _check_config(operator, operator.config, settings)


def _check_config(operator: Any, config: Any, settings: SpotSettings) -> None:
    check_config(config)
    check_groups(operator.ladder, config)
    if all(not is_template(part) for part in config.values()):
        spot_rules.check(apply_settings(config, settings, operator.task_id))


def _rendered_later(operator: Any, name: str) -> bool:
    return name in operator.template_fields and is_template(getattr(operator, name))


def check_on_config_change(value: Any) -> None:
    """
    Check a rendered ``on_config_change``.

    :raises InvalidParameterError: it is none of the three.
    """
    _check_choice("on_config_change", value, "resume", "restart", "fail")


def _check_choice(name: str, value: Any, *choices: str) -> None:
    if value not in choices:
        *most, last = (f'"{choice}"' for choice in choices)
        raise InvalidParameterError(name, value, f"must be {', '.join(most)} or {last}")
