"""The doctor: plays what clients do against a running server, through whatever stands before it.

It needs nothing of the server but its address, a user and a password, so it works from any machine and on any WebDAV
server. `examination` is the door.
"""
