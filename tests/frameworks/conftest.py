"""What the tests of one framework share: its environment."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.frameworks import environments
from tests.frameworks.imported import Imported
from tests.frameworks.unpacked import environment

_TORCH = ["lightning", "transformers.trainer", "transformers.models.bert.modeling_bert"]


@pytest.fixture(scope="session")
def torch_python() -> Path:
    """An interpreter with PyTorch, Transformers and Lightning."""
    try:
        return environments.make("torch")
    except environments.UnavailableError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def torch_imported(torch_python: Path) -> Iterator[Imported]:
    """A process that has imported them, and starts scripts in forks; it takes memory that other tests may need."""
    process = Imported(torch_python, _TORCH, environment())
    yield process
    process.close()
