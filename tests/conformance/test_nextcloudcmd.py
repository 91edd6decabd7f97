"""nextcloudcmd keeps two devices in step through the server, and loses nothing."""

from tests.conformance import syncing


class TestNextcloud(syncing.Syncing):
    program = "nextcloudcmd"
    refuses = " "
