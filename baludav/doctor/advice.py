"""What to write where, so that a proxy leaves alone what clients rely on."""

_PROXIES = {"nginx": "nginx", "apache": "Apache", "caddy": "Caddy"}


class Proxy:
    """What answers at the address.

    Attributes:
        name: `nginx`, `Apache` or `Caddy`; empty if it does not say.
    """

    def __init__(self, server: str, via: str) -> None:
        said = f"{server} {via}".lower()
        self.name = next((name for word, name in _PROXIES.items() if word in said), "")

    def lines(self, nginx: str = "", apache: str = "", caddy: str = "") -> tuple[str, ...]:
        """The line for the proxy that is there; for each, if it is not known."""
        given = {"nginx": nginx, "Apache": apache, "Caddy": caddy}
        if given.get(self.name):
            given = {self.name: given[self.name]}
        return tuple(f"{name}: {line}" for name, line in given.items() if line)

    def everything(self) -> tuple[str, ...]:
        """So that each path of the server can be reached."""
        return self.lines(
            "pass on everything: `location / { proxy_pass ...; }`",
            "pass on everything: `ProxyPass / ...`",
            "pass on everything: `reverse_proxy` without a path",
        )

    def answered(self, field: str) -> tuple[str, ...]:
        """So that a field of answers reaches the client."""
        return self.lines(
            f"take out `proxy_hide_header {field};`", f"take out `Header unset {field}`", f"take out `header -{field}`"
        )

    def asked(self, field: str) -> tuple[str, ...]:
        """So that a field of requests reaches the server."""
        return self.lines(
            f"take out `proxy_set_header {field} ...;`",
            f"take out `RequestHeader unset {field}`",
            f"take out `header_up -{field}`",
        )

    def address(self) -> tuple[str, ...]:
        """So that the server knows what it is called outside."""
        return self.lines(
            "proxy_set_header Host $http_host;  proxy_set_header X-Forwarded-Proto $scheme;",
            "ProxyPreserveHost On  and  RequestHeader set X-Forwarded-Proto https",
            "take out `header_up Host` and `header_up X-Forwarded-Proto`",
        )

    def streaming(self) -> tuple[str, ...]:
        """So that uploads go straight through, also those without a length."""
        return self.lines(
            "proxy_http_version 1.1;  proxy_request_buffering off;",
            "SetEnv proxy-sendchunked 1",
            "take out `request_buffers`",
        )
