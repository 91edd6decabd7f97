"""What baludav costs, measured over HTTP against a running server and its real index."""
