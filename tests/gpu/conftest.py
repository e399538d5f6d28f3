"""What the tests on a CUDA device share."""

import os

import pytest
import torch


@pytest.fixture(scope="session")
def cuda() -> torch.device:
    """The device; without one the test is skipped, or fails where FAIL_WITHOUT_CUDA is set."""
    if not torch.cuda.is_available():
        if os.environ.get("FAIL_WITHOUT_CUDA"):
            pytest.fail("FAIL_WITHOUT_CUDA is set and there is no CUDA device")
        pytest.skip("needs a CUDA device")
    return torch.device("cuda")
