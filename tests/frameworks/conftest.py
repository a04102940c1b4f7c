"""What the tests of one framework share: its environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.frameworks import environments


@pytest.fixture(scope="session")
def torch_python() -> Path:
    """An interpreter with PyTorch, Transformers and Lightning."""
    try:
        return environments.make("torch")
    except environments.UnavailableError as error:
        pytest.skip(str(error))
