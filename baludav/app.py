"""Assembles the WSGI application of one worker: WsgiDAV with our provider, the REST API, and the house behind them."""

import logging
from collections.abc import Callable, Iterable
from typing import Any

from wsgidav.wsgidav_app import WsgiDAVApp

from baludav import metrics
from baludav.accounts.shares import note_shares
from baludav.config import Config
from baludav.limits.common import Common
from providers import front, provider, resolver, signin  # noqa: F401  # by name in _DEFAULTS; before the fork, for all
from providers.house import KEY, House, open_house
from sync_ext.api import DOCUMENT, Api
from sync_ext.endpoints import BASE, Ground
from sync_ext.listeners import Listeners

__all__ = ["House", "make_app", "open_house"]

# What serves the tree when there is no configuration file.
_DEFAULTS: dict[str, Any] = {
    "provider_mapping": {
        "/dav": {"class": "providers.provider.TreeProvider", "kwargs": {"application": "${application}"}}
    },
    "middleware_stack": ["providers.front.Front", "providers.signin.SignIn", "providers.resolver.Resolver"],
    "lock_storage": False,
    "property_manager": False,
    "verbose": 2,
    "logging": {"enable": False},
}


class App(WsgiDAVApp):
    """WsgiDAV's application, without what it does to a path on its way in: our rooms decode it themselves, once.

    The REST API stands beside it.
    """

    def __init__(self, config: dict[str, Any], house: House) -> None:
        self.house = house
        limits = house.config.settings.limits
        self._listeners = Listeners(
            house.database, house.tree, house.sign_in, house.common.listeners, most=limits.listeners_total,
            most_of_a_user=limits.listeners,
        )  # fmt: skip
        self._api = Api(
            Ground(
                house.config, house.tree, house.devices, house.sign_in, house.trail, self._listeners, house.rates,
            )
        )  # fmt: skip
        super().__init__(config)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path.startswith(BASE + "/") or path in (BASE, DOCUMENT):
            return self._api(environ, start_response)
        environ["wsgidav.app"] = self
        environ["wsgidav.config"] = self.config
        environ["wsgidav.provider"] = None
        environ["wsgidav.verbose"] = self.verbose
        answered: Iterable[bytes] = self.application(environ, start_response)
        return answered

    def tidy(self) -> None:
        """To be called now and then; see `House.tidy`."""
        self.house.tidy()

    def close(self) -> None:
        self._listeners.close()
        self.house.close()


def make_app(config: Config, common: Common | None = None) -> App:
    """The application of one worker; call it after `fork`.

    Args:
        common: what all workers count together.
    """
    house = open_house(config, common)
    metrics.start(config.folder / "metrics")
    logging.getLogger().addHandler(metrics.Errors())
    note_shares(house.database, config.settings.shares)
    app = App({**_DEFAULTS, **config.wsgidav, "host": config.host, "port": config.port, KEY: house}, house)
    house.tree.keep()
    return app
