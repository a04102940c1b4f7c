"""FinalMetricDataList: what MetricDefinitions find in a job's output."""

from __future__ import annotations

import logging
import math
import re

from airflow_spot.local.training.job import TrainingJob

log = logging.getLogger(__name__)


class Metrics:
    """Reads lines of output; the last value of each metric becomes its final one."""

    def __init__(self, job: TrainingJob) -> None:
        self._job = job
        self._patterns: list[tuple[str, re.Pattern[str]]] = []
        for definition in job.request.get("AlgorithmSpecification", {}).get("MetricDefinitions", ()):
            try:
                self._patterns.append((definition["Name"], re.compile(definition["Regex"])))
            except re.error as error:
                log.warning("job %s: metric %s is not read: %s", job.name, definition["Name"], error)

    def read(self, line: str, now: float) -> None:
        """Look for every metric in a line. Its value is the expression's first group."""
        for name, pattern in self._patterns:
            match = pattern.search(line)
            if match is None or not match.groups():
                continue
            try:
                value = float(match[1])
            except (TypeError, ValueError):
                continue
            self._record(name, value, now)

    def final(self, value: float, now: float) -> None:
        """Set every metric to this value, for a job that prints nothing."""
        for name, _ in self._patterns:
            self._record(name, value, now)

    def _record(self, name: str, value: float, now: float) -> None:
        if not math.isfinite(value):  # which JSON has not, and no tuning job counts
            return
        with self._job.lock:
            self._job.metrics[name] = {"MetricName": name, "Value": value, "Timestamp": now}
        if self._job.parent is not None:
            self._job.parent.measured(name, value)
