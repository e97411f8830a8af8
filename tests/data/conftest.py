"""What the tests of data get."""

import pytest
import requests


@pytest.fixture(autouse=True)
def unreachable_hosts(monkeypatch):
    """Makes every host unreachable; returns the list of URLs that were asked for."""
    asked = []

    def request(self, method, url, **kwargs):
        asked.append(url)
        raise requests.ConnectionError(f"no way to {url}")

    monkeypatch.setattr(requests.Session, "request", request)
    return asked
