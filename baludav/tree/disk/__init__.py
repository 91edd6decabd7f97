"""The bytes: storages, and what the operating system offers beside them. Nothing here knows the index."""
