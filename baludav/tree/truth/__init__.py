"""Holds the index against the disk: looks, hashes, notices and mends. The bytes are the truth."""
