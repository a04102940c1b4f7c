"""What instances cost on demand: one table of common training types, in us-east-1, in US dollars an hour.

How the figures are known (all us-east-1, Linux for EC2):

- SageMaker: as list prices read on 2026-09-27 were copied in a public repository [T]. ``ml.m5.large`` at 0.115 is in
  a public recording of GetProducts of 2026-08-11, ``ml.p4d.24xlarge`` at 25.251 in one of 2026-07-27 [T].
  That copy rounds ``ml.g5`` and ``ml.trn1`` to cents: the further digits are an undated table's for ``ml.g5.xlarge``
  and ``ml.g5.2xlarge`` [T], and for ``ml.trn1`` 1.15 times EC2's price [A]. ``ml.p3`` is in undated tables alone [T].
- EC2: as read from AWS's price list and the file behind its price page in July to September 2026 for p4d, p5 and
  trn1.32xlarge [T], and from undated public copies for c5, r5, g4dn, g5, g6 and p3 [T]. ``m5``, the larger ``c5`` and
  ``trn1.2xlarge`` are the public prices as remembered [A].
- Other regions: us-east-1 times :func:`region_factor`, which is assumed [A].

The prices here change no bill: nothing in Local SageMaker costs anything. A type that is not in the table trains all
the same; it has no price.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True)
class InstanceType:
    """One row: what an hour costs, and what the type has.

    :param name: SageMaker's, such as ``ml.g5.xlarge``.
    :param sagemaker: US dollars an hour of training in us-east-1.
    :param ec2: US dollars an hour of the EC2 type on demand in us-east-1.
    :param memory_gib: of the instance.
    """

    name: str
    sagemaker: Decimal
    ec2: Decimal
    vcpus: int
    memory_gib: int
    gpus: int

    @property
    def ec2_name(self) -> str:
        """EC2's name, such as ``g5.xlarge``."""
        return ec2_name(self.name)


def ec2_name(instance_type: str) -> str:
    """Return EC2's name of a SageMaker type: without ``ml.``."""
    return instance_type.removeprefix("ml.")


#: name: SageMaker's price, EC2's price, vCPUs, memory in GiB, GPUs.
_ROWS: dict[str, tuple[str, str, int, int, int]] = {
    "ml.m5.large": ("0.115", "0.096", 2, 8, 0),
    "ml.m5.xlarge": ("0.23", "0.192", 4, 16, 0),
    "ml.m5.2xlarge": ("0.461", "0.384", 8, 32, 0),
    "ml.m5.4xlarge": ("0.922", "0.768", 16, 64, 0),
    "ml.c5.xlarge": ("0.204", "0.17", 4, 8, 0),
    "ml.c5.2xlarge": ("0.408", "0.34", 8, 16, 0),
    "ml.c5.4xlarge": ("0.816", "0.68", 16, 32, 0),
    "ml.c5.9xlarge": ("1.836", "1.53", 36, 72, 0),
    "ml.r5.xlarge": ("0.302", "0.252", 4, 32, 0),
    "ml.g4dn.xlarge": ("0.7364", "0.526", 4, 16, 1),
    "ml.g4dn.2xlarge": ("0.94", "0.752", 8, 32, 1),
    "ml.g4dn.12xlarge": ("4.89", "3.912", 48, 192, 4),
    "ml.g5.xlarge": ("1.408", "1.006", 4, 16, 1),
    "ml.g5.2xlarge": ("1.515", "1.212", 8, 32, 1),
    "ml.g5.4xlarge": ("2.03", "1.624", 16, 64, 1),
    "ml.g5.12xlarge": ("7.09", "5.672", 48, 192, 4),
    "ml.g5.48xlarge": ("20.36", "16.288", 192, 768, 8),
    "ml.g6.xlarge": ("1.127", "0.8048", 4, 16, 1),
    "ml.g6.2xlarge": ("1.222", "0.9776", 8, 32, 1),
    "ml.g6.12xlarge": ("5.752", "4.6016", 48, 192, 4),
    "ml.p3.2xlarge": ("3.825", "3.06", 8, 61, 1),
    "ml.p3.8xlarge": ("14.688", "12.24", 32, 244, 4),
    "ml.p4d.24xlarge": ("25.2513", "21.957642", 96, 1152, 8),
    "ml.p5.48xlarge": ("63.296", "55.04", 192, 2048, 8),
    "ml.trn1.2xlarge": ("1.545", "1.34375", 8, 32, 0),
    "ml.trn1.32xlarge": ("24.725", "21.5", 128, 512, 0),
}

#: By SageMaker's name.
INSTANCE_TYPES: dict[str, InstanceType] = {
    name: InstanceType(name, Decimal(sagemaker), Decimal(ec2), vcpus, memory, gpus)
    for name, (sagemaker, ec2, vcpus, memory, gpus) in _ROWS.items()
}

_FACTORS = (
    ("us-west-1", Decimal("1.17")),
    ("us-", Decimal(1)),
    ("ca-", Decimal("1.1")),
    ("eu-", Decimal("1.12")),
    ("ap-", Decimal("1.25")),
    ("sa-", Decimal("1.6")),
)
_ELSEWHERE = Decimal("1.2")


def region_factor(region: str) -> Decimal:
    """Return how many times the price of us-east-1 a region's is: assumed, so that regions differ [A]."""
    return next((factor for prefix, factor in _FACTORS if region.startswith(prefix)), _ELSEWHERE)


def in_region(price: Decimal, region: str) -> Decimal:
    """Return a price of us-east-1 as it is in another region, exact to a hundredth of a cent there.

    :param price: US dollars an hour.
    """
    factor = region_factor(region)
    return price if factor == 1 else (price * factor).quantize(Decimal("0.0001"))
