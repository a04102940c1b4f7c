"""What spot saves, per instance family.

SageMaker does not publish its spot prices. What its jobs were billed is recorded: 31 to 79 % less than on-demand
[T]. In 2026 it was about 32 % for ml.g5.2xlarge, and 62 % for p5 in 2025 and 2026 [T]; the other figures, and that
all types of a family and all days are alike, are assumed [A], so that savings are seen and differ by type. No decision
should be built on them.
"""

from __future__ import annotations

_DISCOUNTS = {
    "c": 0.60,
    "m": 0.62,
    "r": 0.65,
    "t": 0.60,
    "g4dn": 0.70,
    "g5": 0.32,
    "g6": 0.60,
    "p3": 0.70,
    "p4d": 0.55,
    "p5": 0.62,
    "trn1": 0.60,
}
_DEFAULT = 0.60


def spot_discount(instance_type: str) -> float:
    """Return the part of the on-demand price that spot saves, between 0 and 1.

    :param instance_type: e.g. ``ml.g5.xlarge``.
    """
    family = instance_type.removeprefix("ml.").partition(".")[0]
    return _DISCOUNTS.get(family, _DISCOUNTS.get(family[:1], _DEFAULT))


def billable_seconds(training_seconds: float, instance_type: str, spot: bool) -> float:
    """Return what is billed for, in on-demand seconds: BillableTimeInSeconds."""
    return training_seconds * (1 - spot_discount(instance_type)) if spot else training_seconds
