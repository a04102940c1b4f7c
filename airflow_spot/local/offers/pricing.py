"""The Price List API: what an instance costs on demand, from :mod:`airflow_spot.local.market.on_demand`."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from airflow_spot.local.api.call import Call
from airflow_spot.local.backend import Backend, Operations
from airflow_spot.local.errors import ServiceError
from airflow_spot.local.market.quotas import is_offered
from airflow_spot.local.offers.paging import paged
from airflow_spot.local.offers.products import Product, products
from airflow_spot.local.offers.regions import PRICING_REGIONS, regions

SERVICES = ("AmazonEC2", "AmazonSageMaker")
_FORMAT = "aws_v1"
_PAGE = 100

#: How a filter's value is compared with a row's [D].
_TESTS: dict[str, Callable[[str, str], bool]] = {
    "TERM_MATCH": lambda value, wanted: value == wanted,
    "EQUALS": lambda value, wanted: value == wanted,
    "CONTAINS": lambda value, wanted: wanted in value,
    "ANY_OF": lambda value, wanted: value in wanted.split(","),
    "NONE_OF": lambda value, wanted: value not in wanted.split(","),
}


def get_products(backend: Backend, call: Call) -> dict[str, Any]:
    """Answer with the rows that all filters let pass, each as a text of JSON. A field that a row has not lets it not.

    Types that the region has not (``--quotas TYPE=unavailable``) have no price.
    """
    _check(call)
    filters = call.params.get("Filters") or []

    def passes(product: Product) -> bool:
        found = ((product.value(one["Field"]), one) for one in filters)
        return all(value is not None and _TESTS[one["Type"]](value, one["Value"]) for value, one in found)

    def offered(product: Product) -> bool:
        name = (
            f"ml.{(product.attributes.get('instanceName') or product.attributes['instanceType']).removeprefix('ml.')}"
        )
        return is_offered(backend.quotas, name, spot=False)

    # The whole list has thousands of rows: those of other regions are not even made.
    named = {
        one["Value"] for one in filters if one["Field"] == "regionCode" and one["Type"] in ("TERM_MATCH", "EQUALS")
    }
    places = {name: place for name, place in regions().items() if not named or name in named}
    wanted = (each for each in products(call.params["ServiceCode"], places) if passes(each) and offered(each))
    shown, token = paged(wanted, call.params, lambda each: (each.sku,), size=_PAGE, error="InvalidNextTokenException")
    texts = [json.dumps(each.document(), separators=(",", ":")) for each in shown]
    return {"FormatVersion": _FORMAT, "PriceList": texts, **({"NextToken": token} if token else {})}


def describe_services(backend: Backend, call: Call) -> dict[str, Any]:
    """Answer with the services that have prices here, and the fields of their rows."""
    wanted = call.params.get("ServiceCode")
    _check(call)
    services = []
    for service in SERVICES if wanted is None else (wanted,):
        rows = products(service, {"us-east-1": regions()["us-east-1"]})
        names = {name for row in rows for name in row.attributes} | {"productFamily"}
        services.append({"ServiceCode": service, "AttributeNames": sorted(names)})
    return {"FormatVersion": _FORMAT, "Services": services}


def _check(call: Call) -> None:
    """Refuse what has no answer.

    :raises ServiceError: for a region without an endpoint, or a service without prices here.
    """
    if call.region not in PRICING_REGIONS:
        raise ServiceError(
            "UnknownEndpoint",
            f"the Price List API has no endpoint in {call.region}, only in {', '.join(PRICING_REGIONS)}: on AWS a "
            "client of another region does not find its host",
            404,
        )
    service = call.params.get("ServiceCode", SERVICES[0])
    if service not in SERVICES:
        raise ServiceError(
            "NotFoundException", f"ServiceCode is {service!r}; Local SageMaker has prices of {' and '.join(SERVICES)}"
        )


OPERATIONS: Operations = {"GetProducts": get_products, "DescribeServices": describe_services}
