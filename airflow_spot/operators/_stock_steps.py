"""The steps of the stock operator that subclasses override: called as there, or refused when the DAG is parsed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow_spot.core.parameter_errors import Described, InvalidParameterError
from airflow_spot.core.templates import plain_copy
from airflow_spot.errors import RequestError
from airflow_spot.hooks.training import SageMakerSpotTrainingHook

if TYPE_CHECKING:
    from airflow.sdk.bases.operator import BaseOperator as _Base
else:
    _Base = object

_NAMES_ARE_OURS = "job names follow from the run, and TrainingJobName is their prefix: remove it"
#: What the stock operator calls, and this one does not; with what to do.
_NOT_CALLED = {
    "_get_unique_job_name": _NAMES_ARE_OURS,
    "_get_unique_name": _NAMES_ARE_OURS,
    "_check_if_job_exists": _NAMES_ARE_OURS,
    "_check_if_resource_exists": _NAMES_ARE_OURS,
    "serialize_result": "change what execute and execute_complete of the operator return, in overrides of both",
}
#: What has to call what it overrides, and why.
_HAS_TO_CALL = {
    "execute_complete": "the task continues in it after each wait, not only after the last",
    "on_kill": "it stops the job, whose name is not the config's TrainingJobName",
}


class StockSteps(_Base):
    """
    What the stock operator does with its config before it creates a job.

    Here it is done in each worker that a task comes to, also after a deferral, on a copy of the config: an override
    has to do the same each time.
    """

    config: Any
    _rendered_config: Any
    integer_fields: list[list[Any]] = []

    def preprocess_config(self) -> None:
        """Change ``self.config`` into what is sent. ``S3Operations`` are done later, before a job is created."""
        self._create_integer_fields()
        self.parse_config_integers()
        self.expand_role()

    def expand_role(self) -> None:
        """Make an ARN of a role's name in ``self.config``."""
        if self.config.get("RoleArn"):
            hook: SageMakerSpotTrainingHook = self.hook  # type: ignore[attr-defined]
            self.config["RoleArn"] = hook.expand_role(self.config["RoleArn"])

    def parse_config_integers(self) -> None:
        """Do nothing: every value is read as SageMaker's model says."""

    def parse_integer(self, config: Any, field: Any) -> None:
        """Do nothing, likewise."""

    def _create_integer_fields(self) -> None:
        """Do nothing, likewise."""

    @contextmanager
    def _preprocessed(self) -> Iterator[None]:
        """Put the preprocessed config into ``self.config``, and the task's own back at the end."""
        given = self.config
        self.config = plain_copy(given)
        try:
            self.preprocess_config()
            yield
        finally:
            self.config = given

    def _check_config_is_kept(self) -> None:
        """
        Check that a task which is to be deferred has its config of the DAG: what ``execute`` changes is lost then.

        :raises RequestError: an overridden ``execute`` changed it.
        """
        # Found, not named: who asks is imported by the operator, and cannot import it.
        *_, ours = (kind for kind in type(self).__mro__ if StockSteps in kind.__bases__)
        if self._rendered_config is None or not overrides(type(self), ours, "execute"):
            return
        if plain_copy(self.config) != self._rendered_config:
            raise RequestError(
                f"{type(self).__name__}.execute changes the config, which is lost when the task is deferred. Change it "
                "in preprocess_config(), which is called at each resume too. Nothing was sent to SageMaker"
            )


def overrides(kind: type, ours: type, name: str) -> Any:
    """Return what a subclass of an operator of ours has in place of an attribute; None where it has nothing."""
    for each in kind.__mro__:
        if each is ours:
            return None
        if name in vars(each):
            return vars(each)[name]
    return None


def check_steps(kind: type, ours: type) -> None:
    """
    Check what a subclass overrides.

    :raises InvalidParameterError: something that is never called, or that has to be.
    """
    for name, fix in _NOT_CALLED.items():
        if overrides(kind, ours, name) is not None:
            raise InvalidParameterError(f"{kind.__name__}.{name}", Described("never called"), fix)
    for name, why in _HAS_TO_CALL.items():
        override = overrides(kind, ours, name)
        if override is not None and not _calls(override, name):
            said = Described(f"an override that does not call super().{name}()")
            raise InvalidParameterError(f"{kind.__name__}.{name}", said, f"call it, or remove the override: {why}")
    hook = getattr(kind, "aws_hook_class", None)
    if not (isinstance(hook, type) and issubclass(hook, SageMakerSpotTrainingHook)):
        raise InvalidParameterError(
            f"{kind.__name__}.aws_hook_class",
            Described(getattr(hook, "__name__", str(hook))),
            "must be a subclass of airflow_spot.hooks.training.SageMakerSpotTrainingHook",
        )


def _calls(override: Any, name: str) -> bool:
    """Return whether a function speaks of what it overrides; of one that cannot be looked into, that is believed."""
    function = getattr(override, "__wrapped__", override)
    code = getattr(function, "__code__", None)
    return code is None or name in code.co_names or "super" in code.co_names
