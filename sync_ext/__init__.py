"""The REST sync extension beside the DAV tree, at `/api/sync`."""
