"""What HTTP and WebDAV say about bytes: conditions, ranges and digests. Nothing here knows the tree."""
