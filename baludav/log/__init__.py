"""The log on standard error: what the rooms say, and a line for each request."""
