"""Resources by kind, region and name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from airflow_spot.local.errors import ServiceError
from airflow_spot.local.storage.store import Kind, Store


@dataclass
class Thing:
    region: str
    name: str

    @property
    def arn(self) -> str:
        return THINGS.arn(self.region, self.name)

    def describe(self, now: float) -> dict[str, Any]:
        return {"BigThingName": self.name}


THINGS = Kind[Thing]("big-thing", "Big thing")


def test_names_differ_by_more_than_their_case_and_are_found_exactly() -> None:
    things = Store([THINGS]).table(THINGS)
    first = Thing("us-east-1", "One")
    things.add(first)
    with pytest.raises(ServiceError, match="a big thing with this name already exists"):
        things.add(Thing("us-east-1", "ONE"))
    things.add(Thing("eu-west-1", "ONE"))
    assert things.find("us-east-1", "One") is first
    assert things.find("us-east-1", "one") is None
    with pytest.raises(ServiceError, match="not found"):
        things.get("us-east-1", "one")


def test_a_resource_is_known_by_its_arn_as_long_as_it_is_there() -> None:
    store = Store([THINGS])
    thing = Thing("us-east-1", "One")
    assert thing.arn == "arn:aws:sagemaker:us-east-1:123456789012:big-thing/one"
    assert not store.exists(thing.arn)
    store.table(THINGS).add(thing)
    assert store.exists(thing.arn)
    assert not store.exists(thing.arn.replace("us-east-1", "eu-west-1"))
    assert not store.exists(thing.arn.replace("big-thing", "thing"))
    store.table(THINGS).pop("us-east-1", "One")
    assert not store.exists(thing.arn)


def test_a_kind_that_the_store_was_not_made_with_has_no_table() -> None:
    with pytest.raises(KeyError):
        Store([]).table(THINGS)


def test_kinds_come_in_the_given_order_with_all_that_they_have() -> None:
    others = Kind[Thing]("other", "Other")
    store = Store([others, THINGS])
    made = [Thing("us-east-1", "b"), Thing("eu-west-1", "a")]
    for thing in made:
        store.table(THINGS).add(thing)
    assert list(store.resources()) == [(others, []), (THINGS, made)]
    assert THINGS.member_prefix == "BigThing"
