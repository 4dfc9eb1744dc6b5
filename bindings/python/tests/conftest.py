import pytest
from llama_concurrent import Engine


@pytest.fixture(scope="module")
def engine():
    with Engine(slots=8, threads=1, pin=False) as engine:
        yield engine
