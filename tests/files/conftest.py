"""What several tests of files share."""

import pytest

from npconv.files.opening import open_weights


@pytest.fixture
def opened(tmp_path):
    """A function that writes bytes to a file and opens it."""

    def open_bytes(data, **arguments):
        path = tmp_path / "weights"
        path.write_bytes(data)
        return open_weights(path, **arguments)

    return open_bytes
