"""What happens to a task before its code runs, and is to be dealt with by that code: a kill, a template's error."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from airflow_spot.errors import RenderError

if TYPE_CHECKING:
    from airflow.sdk.bases.operator import BaseOperator as _Base
else:
    _Base = object


class BeforeExecute(_Base):
    """
    Keeps what came before ``execute`` or a resume, which has no run yet that could answer for a live job.

    Airflow tells a task of a signal from the moment that its process has begun, and renders its templates before it
    runs it. A Variable that was deleted meanwhile would fail the task, and nobody would wait for the job.
    """

    _killed = False
    _render_error: RenderError | None = None

    def _do_render_template_fields(
        self, parent: Any, template_fields: Iterable[str], *args: Any, **kwargs: Any
    ) -> None:
        # One by one: the connection's fields are needed to deal with the error of another one.
        for field in template_fields:
            try:
                super()._do_render_template_fields(parent, (field,), *args, **kwargs)
            except Exception as error:
                if parent is not self:  # a field within a field of ours
                    raise
                self._render_error = self._render_error or RenderError(field, error)
