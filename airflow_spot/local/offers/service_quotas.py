"""Service Quotas of SageMaker, as the service's own ``--quotas`` has them.

Each type of the price table, and each that a quota names without wildcards, has the two quotas of training jobs. Those
of other uses are listed too, as on AWS, where a client has to tell them apart; nothing here limits them.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from airflow_spot.local.api.call import Call
from airflow_spot.local.backend import Backend, Operations
from airflow_spot.local.errors import ServiceError
from airflow_spot.local.market.on_demand import INSTANCE_TYPES
from airflow_spot.local.market.quotas import Quota, is_offered, quota_name, quota_of
from airflow_spot.local.offers.paging import paged
from airflow_spot.local.settings import ACCOUNT

SERVICE = "sagemaker"
#: What stands for no limit, since a quota is a number.
UNLIMITED = 100
_PAGE = 100
_OTHER_USES = {
    "endpoint usage": "endpoint",
    "processing job usage": "processing-job",
    "transform job usage": "transform-job",
}


@dataclass(frozen=True)
class Listed:
    """One quota as it is listed.

    :param resource: of its metric, such as ``training-job/ml.g5.xlarge``.
    """

    name: str
    value: int
    resource: str

    @property
    def code(self) -> str:
        """The quota's code: the same at each start, and other than AWS's."""
        return f"L-{hashlib.blake2b(self.name.encode(), digest_size=4).hexdigest().upper()}"

    def document(self, region: str) -> dict[str, Any]:
        """Return it as Service Quotas shows it."""
        return {
            "ServiceCode": SERVICE,
            "ServiceName": "Amazon SageMaker",
            "QuotaArn": f"arn:aws:servicequotas:{region}:{ACCOUNT}:{SERVICE}/{self.code}",
            "QuotaCode": self.code,
            "QuotaName": self.name,
            "Value": float(self.value),
            "Unit": "None",
            "Adjustable": True,
            "GlobalQuota": False,
            "UsageMetric": {
                "MetricNamespace": "AWS/Usage",
                "MetricName": "ResourceCount",
                "MetricDimensions": {
                    "Class": "None",
                    "Resource": self.resource,
                    "Service": "SageMaker",
                    "Type": "Resource",
                },
                "MetricStatisticRecommendation": "Maximum",
            },
            "QuotaAppliedAtLevel": "ACCOUNT",
        }


def listed(quotas: tuple[Quota, ...]) -> Iterator[Listed]:
    """Yield all quotas; none for a type that the region has not.

    :param quotas: the service's specification.
    """
    named = {each.pattern for each in quotas if not set("*?[") & set(each.pattern)}
    for instance_type in sorted({*INSTANCE_TYPES, *named}):
        for spot in (False, True):
            found = quota_of(quotas, instance_type, spot=spot)
            if found is None or found.limit is not None:
                value = UNLIMITED if found is None or found.limit is None else found.limit
                resource = f"{'spot-' if spot else ''}training-job/{instance_type}"
                yield Listed(quota_name(instance_type, spot=spot), value, resource)
        if is_offered(quotas, instance_type, spot=False):
            for use, kind in _OTHER_USES.items():
                yield Listed(f"{instance_type} for {use}", UNLIMITED, f"{kind}/{instance_type}")


def list_service_quotas(backend: Backend, call: Call) -> dict[str, Any]:
    """Answer with a page of quotas, by code as AWS seems to."""
    _check(call)
    # AWS filters by these; here each quota is the account's.
    params = {name: value for name, value in call.params.items() if name != "QuotaAppliedAtLevel"}
    wanted = [each for each in listed(backend.quotas) if call.params.get("QuotaCode") in (None, each.code)]
    shown, token = paged(wanted, params, lambda each: (each.code,), size=_PAGE, error="InvalidPaginationTokenException")
    return {
        "Quotas": [each.document(call.region) for each in shown],
        **({"NextToken": token} if token else {}),
    }


def get_service_quota(backend: Backend, call: Call) -> dict[str, Any]:
    """Answer with one quota, by its code."""
    _check(call)
    for each in listed(backend.quotas):
        if each.code == call.params["QuotaCode"]:
            return {"Quota": each.document(call.region)}
    raise _missing()


def request_service_quota_increase(backend: Backend, call: Call) -> dict[str, Any]:
    """Answer that a request is pending. Nobody decides on it here: ``LocalSageMaker.set_quotas`` grants one."""
    _check(call)
    for each in listed(backend.quotas):
        if each.code == call.params["QuotaCode"]:
            if call.params["DesiredValue"] <= each.value:
                raise ServiceError(
                    "IllegalArgumentException", "You must provide a quota value greater than the current quota value."
                )
            now = backend.clock.now()
            return {
                "RequestedQuota": {
                    "Id": uuid.uuid4().hex,
                    "ServiceCode": SERVICE,
                    "ServiceName": "Amazon SageMaker",
                    "QuotaCode": each.code,
                    "QuotaName": each.name,
                    "DesiredValue": call.params["DesiredValue"],
                    "Status": "PENDING",
                    "Created": now,
                    "LastUpdated": now,
                    "GlobalQuota": False,
                    "Unit": "None",
                }
            }
    raise _missing()


def _check(call: Call) -> None:
    if call.params["ServiceCode"] != SERVICE:
        raise _missing()


def _missing() -> ServiceError:
    return ServiceError(
        "NoSuchResourceException", "The request failed because the specified resource does not exist in this service."
    )


OPERATIONS: Operations = {
    "ListServiceQuotas": list_service_quotas,
    "GetServiceQuota": get_service_quota,
    "RequestServiceQuotaIncrease": request_service_quota_increase,
}
