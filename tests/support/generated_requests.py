"""Requests as strangers send them: any method, target, headers and framing, right and wrong."""

from __future__ import annotations

from hypothesis import strategies as st

METHODS = b"GET HEAD POST PUT DELETE OPTIONS PATCH TRACE CONNECT get head Post PRI FOO".split()

PATHS = rb"""
/ // //[ /%2e%2e/ /%00 /%ff /\ /nothing
/metrics /-/healthy /-/ready /-/reload /-/quit
/webhooks/roamify /webhooks/roamify/ /webhooks/x /webhooks
/api/v1/esims /api/v1/status /api/v1/esims/roamify/x /api/v1/admin/backup
/esims /esims/ /esims/roamify/x /rejected /rejected/0 /settings /try /static/x.css
* ? ?a # x a:1 http://[ http://x HTTP://[::1/metrics http:///metrics ftp://x/
http://x?collect[]=fleet https://a..b/metrics https://a..b/webhooks/roamify
""".split()

QUERIES = [
    b"",
    *b"? ?collect[]=%ff ?exclude[]=fleet&collect[]=esims ?page=-1 ?q=%00 ?a=1&a=2".split(),
]

HOSTS = [
    *(b"", b"x", b"a..b", b".example.org", b"a" * 64, b"xn--" + b"a" * 63, b"\xff\xfe", b"[::1"),
    *(b"[::1]:80", b"user@host", b"a,b", b"x:99999", b"x:y", b"*", b"%00", b"\xe2\x98\x83.example"),
]

HEADERS = b"""
Connection: close
Connection: keep-alive, upgrade
Connection: \xff
Upgrade: h2c
Upgrade: websocket
Sec-WebSocket-Key: x
Sec-WebSocket-Version: 13
HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA
Expect: 100-continue
Expect: x
Accept: text/html
Accept: */*;q=x
Accept: ;;;,
Accept: text/plain;q=1e999
Accept: application/openmetrics-text;version=9;q=nan
Accept-Encoding: gzip;q=-1
Accept-Encoding: gzip, identity;q=0
Authorization: Basic
Authorization: Basic \xff
Authorization: Digest a="
Cookie: a=\x80; =; $Version
Range: bytes=-1
If-None-Match: "
If-Modified-Since: x
Content-Type: multipart/form-data
Content-Type: application/json; charset=\xff
Content-Encoding: gzip
Origin: null
Origin: http://[
Sec-Fetch-Site: cross-site
X-Forwarded-For: \xff
X-Roamify-Signature: \xe9
X-Roamify-Signature:
Trailer: x
 folded: x
no colon
: x
""".strip(b"\n").split(b"\n")

FRAMINGS = [
    (b"", b""),
    (b"Content-Length: 0", b""),
    (b"Content-Length: 2", b"{}"),
    (b"Content-Length: 2", b"{"),
    (b"Content-Length: 2", b"{}GET / HTTP/1.1\r\n\r\n"),
    (b"Content-Length: 2\r\nContent-Length: 3", b"{} "),
    (b"Content-Length: -1", b""),
    (b"Content-Length: +2", b"{}"),
    (b"Content-Length: 99999999999999999999", b"x"),
    (b"Content-Length: 999999999999999999999", b"x"),
    (b"Transfer-Encoding: chunked", b"2\r\n{}\r\n0\r\n\r\n"),
    (b"Transfer-Encoding: chunked", b"2;a=b\r\n{}\r\n0\r\nTrailer: x\r\n\r\n"),
    (b"Transfer-Encoding: chunked", b"zz\r\n"),
    (b"Transfer-Encoding: chunked", b"fffffffffffffffff\r\n"),
    (b"Transfer-Encoding: chunked", b"2\r\n{}"),
    (b"Transfer-Encoding: gzip, chunked", b"0\r\n\r\n"),
    (b"Transfer-Encoding: identity", b"{}"),
    (b"Content-Length: 9\r\nTransfer-Encoding: chunked", b"2\r\n{}\r\n0\r\n\r\n"),
]
"""Header fields and the bytes behind the head."""

tokens = st.from_regex(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,12}", fullmatch=True)

values = st.binary(max_size=40) | st.from_regex(rb"[!-~]([ -~]{0,30}[!-~])?", fullmatch=True)

methods = st.sampled_from(METHODS) | tokens

targets = st.one_of(
    st.sampled_from(PATHS),
    st.builds(bytes.__add__, st.sampled_from(PATHS), st.sampled_from(QUERIES)),
    st.from_regex(rb"/?[!-~]{0,30}", fullmatch=True),
    st.binary(max_size=20),
)

versions = st.sampled_from([b"HTTP/1.1"] * 6 + [b"HTTP/1.0", b"HTTP/2.0", b"HTTP/1", b"x"])

fields = st.sampled_from(HEADERS) | st.builds(lambda *parts: b": ".join(parts), tokens, values)

hosts = st.just([b"x"]) | st.lists(st.sampled_from(HOSTS), max_size=2)


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """Return the bytes of a request, or of what looks like one."""
    line = b" ".join([draw(methods), draw(targets), draw(versions)])
    lines = [line, *(b"Host: " + host for host in draw(hosts)), *draw(st.lists(fields, max_size=5))]
    framing, body = draw(st.sampled_from(FRAMINGS))
    return b"\r\n".join([*lines, *([framing] if framing else []), b"", body])
