import pytest
from support.published import make_cache


@pytest.fixture(scope="session")
def hub_cache(tmp_path_factory):
    """A made cache of the hub, with stand-ins for the published models."""
    return make_cache(tmp_path_factory.mktemp("published"))
