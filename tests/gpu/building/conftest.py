"""The package that builds engines without a GPU."""

import pytest

from m3e_runtime.errors import EngineMissingError
from m3e_runtime.gpu.tensorrt import find_package


@pytest.fixture(scope="session")
def rtx():
    try:
        return find_package("tensorrt_rtx")
    except EngineMissingError as error:
        pytest.skip(str(error))
