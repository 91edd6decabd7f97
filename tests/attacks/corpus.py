"""What has broken servers before, to be sent as it is, and to be changed at random."""

# Requests, each ended by what the next one is told from.
MESSAGES = [
    b"GET /dav/f HTTP/1.1\r\nHost: x\r\n\r\n",
    b"PUT /dav/f HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc",
    b"PUT /dav/f HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\nX-T: 1\r\n\r\n",
    b"PUT /dav/f HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
    b"OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    b"GET http://x:80/dav/f?q HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /dav/f HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    b"POST /api/sync/devices HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
    b"PROPFIND /dav/ HTTP/1.1\r\nHost: x\r\nDepth: 1\r\nContent-Length: 33\r\n\r\n<propfind xmlns='DAV:'></propfind>",
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AA\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n",
]

# What is put into messages, or in place of some of their bytes.
PIECES = [
    b"\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b":", b"\r\n ", b"\x0b", b"\xff", b"%00", b"%", b"..", b"//",
    b"?", b"#",
    b"Content-Length: 3\r\n", b"Content-Length: 0\r\n", b"Content-Length: 18446744073709551616\r\n",
    b"Content-Length: +3\r\n",
    b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding : chunked\r\n", b"Transfer-Encoding: xchunked\r\n",
    b"Transfer-Encoding:\x0bchunked\r\n", b"Host: y\r\n", b"Connection: close\r\n", b"Connection: Content-Length\r\n",
    b"Trailer: Host\r\n", b"TE: trailers\r\n", b"0\r\n\r\n", b"-1\r\n", b"ffffffffffffffff\r\n", b"1;\r\n",
    b"GET /dav/f HTTP/1.1\r\n", b"HTTP/1.1", b"HTTP/9.9", b"a" * 70_000, b"X: " + b"b" * 70_000 + b"\r\n",
    b"X: y\r\n" * 250,
]  # fmt: skip

FIELDS = [
    "Depth", "Destination", "If", "If-Match", "If-None-Match", "If-Range", "If-Modified-Since", "If-Unmodified-Since",
    "Lock-Token", "Overwrite", "Timeout", "Range", "Content-Range", "Content-Type", "Content-Encoding", "Expect",
    "X-OC-Mtime", "OC-Checksum", "OC-Total-Length", "OC-Chunk-Offset", "OC-Conflict", "OC-ConflictBaseFileId",
    "OC-ConflictBaseMtime", "OC-ConflictBaseEtag", "OC-ConflictInitialBasePath", "X-Update-Range", "Upload-Length",
    "Upload-Offset", "Upload-Metadata", "Upload-Checksum", "Upload-Concat", "Repr-Digest", "Content-Digest",
    "Want-Repr-Digest", "X-Expected-Entity-Length", "X-HTTP-Method-Override", "Prefer", "Accept", "Accept-Encoding",
    "Cookie", "Origin", "Sec-Fetch-Site", "User-Agent", "X-Forwarded-For", "X-Forwarded-Proto",
    "Authorization", "Host",
    "Last-Event-ID", "OCS-APIRequest", "Access-Control-Request-Headers",
]  # fmt: skip

VALUES = [
    "", "*", '"', '""', "W/", 'W/"x', "<", "<>", "()", "(", "((", "(<", "([", "(Not", '<x>(["a"])', "9" * 5000,
    "-1", "1e400",
    "nan", "\xff", "\xc3\xa9", "\xc3", "a\tb", "infinity,1", "Second-" + "9" * 5000,
    "Infinite, Second-" + "9" * 400, "bytes=",
    "bytes=0-", "bytes=-0", "bytes=" + "9" * 40 + "-", "bytes=" + "0-0," * 500, "bytes=0-9,5-", "append", "http://[",
    "http://[::1", "http://%/", "http://x/dav/y", "//", "/dav/%ff", "/dav/%2e%2e", "/dav/../..", "urn:uuid:",
    "<urn:uuid:x>",
    "sha-256=:x:", "sha-256=:" + "A" * 43 + "=:", "SHA256:zz", "MD5:", "sha1 !", "%", "%0d%0a", "0x10", "1_0",
    "+1", " 1 ", ";",
    "=", ",", ", ,", ";;;", '"\\"', "a=b;c", "path", "path !", "path Li4vLi4v", "filename Lg==,path Lw==",
    "partial", "final;",
    "final;/uploads/x " * 50, "Basic", "Basic !", "Basic Og==", "Basic YTo=", "Bearer", "Bearer \xff",
    "multipart/related",
    'multipart/related; boundary="', "multipart/related; boundary=" + "-" * 300, "application/json; charset=x",
    "\x80" * 100,
    "Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 99 Nov 0000 99:99:99 GMT", "DELETE", "OPTIONS", "DELETE, GET", "null",
]  # fmt: skip

# Method, target and body of a request at each door.
DOORS = [
    ("GET", "/dav/f", b""), ("GET", "/dav/", b""), ("PUT", "/dav/f", b"bytes"), ("PATCH", "/dav/f", b"bytes"),
    ("PROPFIND", "/dav/", b""), ("UNLOCK", "/dav/f", b""), ("COPY", "/dav/f", b""), ("MOVE", "/dav/none", b""),
    ("DELETE", "/dav/none", b""), ("MKCOL", "/dav/f", b""), ("POST", "/uploads/", b"bytes"), ("PATCH",
    "/uploads/x", b"x"),
    ("LOCK", "/dav/f",
    b"<lockinfo xmlns='DAV:'><lockscope><shared/></lockscope><locktype><write/></locktype></lockinfo>"),
    ("PROPPATCH", "/dav/f", b"<propertyupdate xmlns='DAV:'><set><prop><a xmlns='u:'/></prop></set></propertyupdate>"),
    ("REPORT", "/dav/",
    b"<sync-collection xmlns='DAV:'><sync-token/><sync-level>1</sync-level><prop/></sync-collection>"),
    ("POST", "/dav/f", b""), ("PUT", "/remote.php/dav/uploads/mallory/u/1", b"x"), ("GET", "/status.php", b""),
    ("MKCOL", "/remote.php/dav/uploads/mallory/u", b""), ("MOVE", "/remote.php/dav/uploads/mallory/u/.file", b""),
    ("PUT", "/remote.php/dav/files/mallory/f", b"bytes"), ("POST", "/remote.php/dav/bulk", b"--x--\r\n"),
    ("PROPFIND", "/remote.php/dav/trashbin/mallory/trash", b""), ("GET", "/ocs/v2.php/cloud/user", b""),
    ("MOVE", "/remote.php/dav/trashbin/mallory/trash/x.d1", b""), ("POST", "/api/sync/devices", b"{}"),
    ("GET", "/api/sync/state", b""), ("GET", "/api/sync/changes?since=x", b""), ("POST", "/index.php/login/v2", b""),
    ("GET", "/index.php/login/flow", b""), ("POST", "/index.php/login/flow", b"user=x&password=y&token=z"),
    ("GET", "/metrics", b""), ("OPTIONS", "*", b""), ("GET", "/", b""),
]  # fmt: skip
