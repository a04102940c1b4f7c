"""Endpoints that are updated, and endpoints with several variants, by stock boto3."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.local.hosting.test_endpoints import COLOUR, HELD, Endpoints, adder, ended
from tests.local.jobs import Jobs, alive, until

BROKEN = {"code/inference.py": "def model_fn(d):\n    raise RuntimeError('no weights')\n"}


@pytest.fixture
def endpoints(jobs: Jobs) -> Iterator[Endpoints]:
    made = Endpoints(jobs)
    yield made
    for name in made.made:
        until(lambda name=name: ended(made, name), f"{name} is deleted")  # type: ignore[misc]


def describe(endpoints: Endpoints, name: str) -> dict[str, Any]:
    answer: dict[str, Any] = endpoints.sagemaker.describe_endpoint(EndpointName=name)
    return answer


def update(endpoints: Endpoints, name: str, config: str, **options: Any) -> None:
    endpoints.sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=config, **options)


def settle(endpoints: Endpoints, name: str) -> dict[str, Any]:
    """Wait until an endpoint is in service."""

    def settled() -> dict[str, Any] | None:
        answer = describe(endpoints, name)
        assert answer["EndpointStatus"] != "Failed", answer["FailureReason"]
        return answer if answer["EndpointStatus"] == "InService" else None

    return until(settled, f"{name} is in service")


class Load:
    """Asks an endpoint all the while, on two threads, and keeps every answer in the order in which it was asked for."""

    def __init__(self, endpoints: Endpoints, name: str) -> None:
        self.answers: list[list[Any]] = [[], []]
        self.errors: list[Exception] = []
        self._done = threading.Event()
        self._ask = lambda: endpoints.ask(name, [1])[0]
        self._threads = [threading.Thread(target=self._run, args=(answers,)) for answers in self.answers]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join(120)

    def _run(self, answers: list[Any]) -> None:
        while not self._done.is_set():
            try:
                answers.append(self._ask())
            except Exception as error:
                self.errors.append(error)
            time.sleep(0.005)

    def saw(self, answer: Any) -> bool:
        return all(answer in answers for answers in self.answers)


def test_an_update_turns_no_request_away(endpoints: Endpoints) -> None:
    name = endpoints.serve(adder(10), environment=COLOUR)
    new = endpoints.model(adder(20), environment=COLOUR)
    (old_process,) = endpoints.jobs.events("process", job=name, action="started")
    with Load(endpoints, name) as load:
        until(lambda: load.saw(11), "the first model answers")
        update(endpoints, name, new)
        settle(endpoints, name)
        # Once it is in service again, nobody is answered by the old one.
        assert not alive(old_process["pid"])
        assert endpoints.ask(name, [1]) == [21]
        until(lambda: load.saw(21), "the second model answers")
    assert load.errors == []
    for answers in load.answers:
        switched = answers.index(21)
        assert answers == [11] * switched + [21] * (len(answers) - switched)
    actions = [(line["action"], line["host"]) for line in endpoints.jobs.events("process", job=name)]
    assert actions == [("started", "only/local-1"), ("started", "only/local-2"), ("exited", "only/local-1")]
    states = [line["status"] for line in endpoints.jobs.events("state", job=name, kind="endpoint")]
    assert states == ["Creating", "InService", "Updating", "InService"]
    assert describe(endpoints, name)["EndpointConfigName"] == new


THOUGHTFUL = """
    import os, time
    def model_fn(model_dir):
        return None
    def transform_fn(model, body, content_type, accept):
        if "wait" in body:
            open(os.environ["RELEASE"] + ".asked", "w").close()
            while not os.path.exists(os.environ["RELEASE"]):
                time.sleep(0.02)
        return body
"""
"""Answers with what it is asked, and some of it only once a file is there."""


def test_a_request_under_way_is_answered_by_the_model_that_got_it(endpoints: Endpoints, tmp_path: Path) -> None:
    release = tmp_path / "release"
    name = endpoints.serve({"code/inference.py": THOUGHTFUL}, environment={"RELEASE": str(release)})
    answers: list[Any] = []
    asking = threading.Thread(target=lambda: answers.append(endpoints.ask(name, ["wait"])))
    asking.start()
    until((tmp_path / "release.asked").exists, "the first model is asked")
    update(endpoints, name, endpoints.model(adder(20), environment=COLOUR))
    # New requests need not wait for it, and the endpoint is not in service before it is answered.
    until(lambda: endpoints.ask(name, [1]) == [21], "the second model answers")
    time.sleep(0.3)
    assert describe(endpoints, name)["EndpointStatus"] == "Updating"
    assert answers == []
    release.touch()
    settle(endpoints, name)
    asking.join(120)
    assert answers == [["wait"]]


def test_while_it_is_updated_an_endpoint_shows_both_and_can_be_neither_updated_nor_deleted(
    endpoints: Endpoints, tmp_path: Path
) -> None:
    release = tmp_path / "release"
    name = endpoints.serve(adder(10), environment=COLOUR)
    before = describe(endpoints, name)
    assert "PendingDeploymentSummary" not in before
    new = endpoints.model(HELD, environment={"RELEASE": str(release)})
    update(endpoints, name, new)
    answer = describe(endpoints, name)
    assert (answer["EndpointStatus"], answer["EndpointConfigName"]) == ("Updating", name)
    assert answer["ProductionVariants"] == before["ProductionVariants"]
    assert answer["LastModifiedTime"] > before["LastModifiedTime"]
    pending = answer["PendingDeploymentSummary"]
    assert pending["EndpointConfigName"] == new
    (variant,) = pending["ProductionVariants"]
    assert (variant["VariantName"], variant["CurrentInstanceCount"], variant["DesiredInstanceCount"]) == ("only", 0, 1)
    assert variant["VariantStatus"][0]["Status"] == "Creating"
    for call in (
        lambda: endpoints.sagemaker.delete_endpoint(EndpointName=name),
        lambda: update(endpoints, name, name),
    ):
        with pytest.raises(ClientError, match="Cannot update in-progress endpoint") as refused:
            call()
        assert refused.value.response["Error"]["Code"] == "ValidationException"
    assert endpoints.ask(name, [1]) == [11]
    release.touch()
    answer = settle(endpoints, name)
    assert answer["EndpointConfigName"] == new
    assert "PendingDeploymentSummary" not in answer


def test_an_update_that_fails_leaves_the_old_model_in_service(endpoints: Endpoints) -> None:
    name = endpoints.serve(adder(10), environment=COLOUR)
    update(endpoints, name, endpoints.model(BROKEN))
    answer = settle(endpoints, name)
    assert answer["EndpointConfigName"] == name
    assert "did not pass the ping health check" in answer["FailureReason"]
    assert endpoints.ask(name, [1]) == [11]
    assert "LastDeploymentConfig" not in answer
    # The reason goes with the next update.
    routing = {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 0}
    deployment = {"BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": routing}}
    update(endpoints, name, endpoints.model(adder(20), environment=COLOUR), DeploymentConfig=deployment)
    answer = settle(endpoints, name)
    assert "FailureReason" not in answer
    assert answer["LastDeploymentConfig"] == deployment
    assert endpoints.ask(name, [1]) == [21]


def test_a_failed_endpoint_can_only_be_deleted(endpoints: Endpoints) -> None:
    name = endpoints.deploy(BROKEN)
    endpoints.failed(name)
    with pytest.raises(ClientError, match="can only be deleted"):
        update(endpoints, name, name)


@pytest.mark.parametrize(
    "deployment",
    [
        {
            "BlueGreenUpdatePolicy": {
                "TrafficRoutingConfiguration": {
                    "Type": "CANARY",
                    "WaitIntervalInSeconds": 0,
                    "CanarySize": {"Type": "CAPACITY_PERCENT", "Value": 30},
                }
            }
        },
        {
            "RollingUpdatePolicy": {
                "MaximumBatchSize": {"Type": "CAPACITY_PERCENT", "Value": 30},
                "WaitIntervalInSeconds": 0,
            }
        },
        {"AutoRollbackConfiguration": {"Alarms": [{"AlarmName": "a"}]}},
    ],
)
def test_what_would_be_deployed_otherwise_than_asked_for_is_refused(
    endpoints: Endpoints, deployment: dict[str, Any]
) -> None:
    name = endpoints.model(adder())
    with pytest.raises(ClientError, match="DeploymentConfig") as refused:
        endpoints.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name, DeploymentConfig=deployment)
    assert refused.value.response["Error"]["Code"] == "ValidationException"


def variants(endpoints: Endpoints, weights: dict[str, float]) -> str:
    """An endpoint configuration with a variant for each, that adds 10, 20, ... in their order."""
    members = []
    for place, (name, weight) in enumerate(weights.items(), 1):
        model = endpoints.model(adder(10 * place), environment=COLOUR)
        members.append(
            {
                "VariantName": name,
                "ModelName": model,
                "InstanceType": "ml.m5.large",
                "InitialInstanceCount": place,
                "InitialVariantWeight": weight,
            }
        )
    config = f"{members[0]['ModelName']}-variants"
    endpoints.sagemaker.create_endpoint_config(EndpointConfigName=config, ProductionVariants=members)
    return config


def invoked(endpoints: Endpoints, name: str, **options: Any) -> tuple[str, int]:
    """Which variant answered, and what."""
    answer = endpoints.runtime.invoke_endpoint(
        EndpointName=name, ContentType="application/json", Body=json.dumps([0]), **options
    )
    return answer["InvokedProductionVariant"], json.loads(answer["Body"].read())[0]


def weights_of(answer: dict[str, Any]) -> dict[str, float]:
    return {each["VariantName"]: each["CurrentWeight"] for each in answer["ProductionVariants"]}


def test_variants_share_the_requests_by_weight(endpoints: Endpoints) -> None:
    name = variants(endpoints, {"blue": 3, "green": 1})
    endpoints.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    endpoints.made.append(name)
    answer = settle(endpoints, name)
    assert weights_of(answer) == {"blue": 3, "green": 1}
    assert [each["CurrentInstanceCount"] for each in answer["ProductionVariants"]] == [1, 2]
    assert Counter(invoked(endpoints, name) for _ in range(40)) == {("blue", 10): 30, ("green", 20): 10}
    assert invoked(endpoints, name, TargetVariant="green") == ("green", 20)
    with pytest.raises(ClientError, match="Variant red not found") as unknown:
        invoked(endpoints, name, TargetVariant="red")
    assert unknown.value.response["Error"]["Code"] == "ValidationError"
    desired = [
        {"VariantName": "blue", "DesiredWeight": 0},
        {"VariantName": "green", "DesiredWeight": 5, "DesiredInstanceCount": 4},
    ]
    endpoints.sagemaker.update_endpoint_weights_and_capacities(EndpointName=name, DesiredWeightsAndCapacities=desired)
    answer = settle(endpoints, name)
    assert weights_of(answer) == {"blue": 0, "green": 5}
    assert [each["DesiredInstanceCount"] for each in answer["ProductionVariants"]] == [1, 4]
    assert Counter(invoked(endpoints, name) for _ in range(10)) == {("green", 20): 10}
    # No weight of its own: a variant still answers whoever names it.
    assert invoked(endpoints, name, TargetVariant="blue") == ("blue", 10)
    for wanted, named in (
        ([{"VariantName": "red", "DesiredWeight": 1}], "red"),
        ([{"VariantName": "green", "DesiredWeight": 0}], "above 0"),
        ([{"VariantName": "blue", "DesiredInstanceCount": 0}], "at least 1"),
    ):
        with pytest.raises(ClientError, match=named):
            endpoints.sagemaker.update_endpoint_weights_and_capacities(
                EndpointName=name, DesiredWeightsAndCapacities=wanted
            )
    assert weights_of(describe(endpoints, name)) == {"blue": 0, "green": 5}
    # An update keeps the weights, if it is told to, or takes those of the configuration.
    update(endpoints, name, name, RetainAllVariantProperties=True)
    answer = settle(endpoints, name)
    assert weights_of(answer) == {"blue": 0, "green": 5}
    assert [each["CurrentInstanceCount"] for each in answer["ProductionVariants"]] == [1, 4]
    excluded = [{"VariantPropertyType": "DesiredWeight"}]
    update(endpoints, name, name, RetainAllVariantProperties=True, ExcludeRetainedVariantProperties=excluded)
    answer = settle(endpoints, name)
    assert weights_of(answer) == {"blue": 3, "green": 1}
    assert [each["CurrentInstanceCount"] for each in answer["ProductionVariants"]] == [1, 4]


def test_one_variant_that_fails_fails_the_endpoint(endpoints: Endpoints) -> None:
    models = [endpoints.model(adder(), environment=COLOUR), endpoints.model(BROKEN)]
    members = [
        {"VariantName": name, "ModelName": model, "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
        for name, model in zip(("good", "bad"), models, strict=True)
    ]
    name = f"{models[0]}-two"
    endpoints.sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=members)
    endpoints.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    endpoints.made.append(name)
    assert "variant bad did not pass" in endpoints.failed(name)
    until(lambda: len(endpoints.jobs.events("process", job=name, action="exited")) == 2, "both processes end")
    pids = [line["pid"] for line in endpoints.jobs.events("process", job=name, action="started")]
    assert not any(alive(pid) for pid in pids)


def test_variants_that_nobody_would_ask_are_refused(endpoints: Endpoints) -> None:
    with pytest.raises(ClientError, match="above 0"):
        variants(endpoints, {"a": 0.0, "b": 0.0})


def test_variants_have_names_of_their_own(endpoints: Endpoints) -> None:
    model = endpoints.model(adder())
    member = {"VariantName": "same", "ModelName": model, "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    with pytest.raises(ClientError, match="unique"):
        endpoints.sagemaker.create_endpoint_config(EndpointConfigName=f"{model}-2", ProductionVariants=[member, member])
    with pytest.raises(ClientError, match="ShadowProductionVariants"):
        endpoints.sagemaker.create_endpoint_config(
            EndpointConfigName=f"{model}-2",
            ProductionVariants=[member],
            ShadowProductionVariants=[{**member, "VariantName": "shadow"}],
        )
