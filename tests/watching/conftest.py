"""The application in this process, as the API's tests have it."""

from tests.api.conftest import api, config

__all__ = ["api", "config"]
