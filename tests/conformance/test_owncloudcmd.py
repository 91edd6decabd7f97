"""owncloudcmd keeps two devices in step through the server, and loses nothing."""

from tests.conformance import syncing


class TestOwncloud(syncing.Syncing):
    program = "owncloudcmd"
