"""A user of the REST API, at the wire."""

from typing import Any

import requests

from tests.http.client import SECONDS
from tests.serving import Server


class Client:
    """Sends requests to the API, with a password or with the token of a device.

    Attributes:
        device: what registering it answered.
    """

    def __init__(self, server: Server, name: str, token: str | None = None) -> None:
        self.server = server
        self.name = name
        self.session = requests.Session()
        self.device: dict[str, Any] = {}
        if token is None:
            self.session.auth = server.auth(name)
        else:
            self.session.headers["Authorization"] = f"Bearer {token}"

    def __call__(self, method: str, path: str, **options: Any) -> requests.Response:
        return self.session.request(
            method, f"{self.server.url}/api/sync{path}", timeout=SECONDS, allow_redirects=False, **options
        )

    def get(self, path: str, **parameters: object) -> Any:
        """The answer to a GET that must succeed."""
        answer = self("GET", path, params=parameters)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, path: str, **body: object) -> Any:
        """The answer to a POST that must succeed."""
        answer = self("POST", path, json=body)
        assert answer.status_code in (200, 201), answer.text
        return answer.json()

    def registered(self, name: str = "laptop", device_type: str = "desktop") -> "Client":
        """A new device of this user."""
        device = self.post("/devices", name=name, device_type=device_type)
        client = Client(self.server, self.name, device["token"])
        client.device = device
        return client
