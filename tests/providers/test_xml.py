"""DAV XML: no body breaks the reader, no value is lost, no answer is malformed."""

import io
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from baludav.errors import BadRequest, Failure, TooLarge, UnsupportedMediaType
from providers import bodies, values, xml
from providers.bodies import LockInfo, Wanted
from providers.xml import Multistatus, Propstat

XML_TEXT = st.text(
    st.characters(codec="utf-8", exclude_characters="\ufffe\uffff").filter(lambda c: c >= " " or c in "\t\n\r"),
    max_size=20,
)


def parsed(body: str) -> etree._Element:
    root = bodies.parse_body(body.encode())
    assert root is not None
    return root


def shape(element: etree._Element) -> object:
    """What RFC 4918 §4.3 wants kept, comparable."""
    return (
        element.tag,
        sorted(element.attrib.items()),
        element.text or "",
        [(shape(child), child.tail or "") for child in element],
    )


# Bodies


@pytest.mark.parametrize("body", [b"", b" \r\n\t"])
def test_no_body_is_none(body: bytes) -> None:
    """RFC 4918 §9.1: an empty body is legal where a default exists."""
    assert bodies.parse_body(body) is None


@pytest.mark.parametrize(
    "body",
    [
        "<ä/>".encode(),
        "\ufeff<ä/>".encode(),
        "\r\n<?xml version='1.0'?><ä/>".encode(),
        "<ä/>".encode("utf-16"),
        "<?xml version='1.0' encoding='utf-16'?><ä/>".encode("utf-16"),
        "<?xml version='1.0' encoding='UTF-16'?><ä/>".encode("utf-16-le"),
        "<?xml version='1.0' encoding='utf-16'?><ä/>".encode("utf-16-be"),
        "<?xml version='1.0' encoding='iso-8859-1'?><ä/>".encode("latin-1"),
        "<?xml version='1.0' encoding='windows-1252'?><ä/>".encode("cp1252"),
        "<!-- a --><?b c?><ä/><!-- d -->".encode(),
    ],
)
def test_encodings(body: bytes) -> None:
    """RFC 4918 §8.2, XML 1.0 §4.3.3: UTF-8 and UTF-16 with or without mark, and what the declaration names."""
    root = bodies.parse_body(body)
    assert root is not None
    assert root.tag == "ä"


@pytest.mark.parametrize(
    "body",
    [
        b"no xml",
        b"<a",
        b"<a>",
        b"<a></b>",
        b"<a/><b/>",
        b"<a/>x",
        b"<a b='1' b='2'/>",
        b"<a>&undefined;</a>",
        b"<a>&#0;</a>",
        b"<a>\x01</a>",
        b"<a>\xff</a>",
        b"<a>\xef\xbf\xbf</a>",
        b"<b:a/>",
        b'<a><b:c xmlns:b=""/></a>',
        b'<a xmlns:b="not a URI"/>',
        b"\x00",
        b"<?xml version='1.0' encoding='klingon'?><a/>",
        b"<?xml version='1.0' encoding='utf-7'?><a/>",
        b"<?xml version='1.0' encoding='base64'?><a/>",
        b"<!DOCTYPE a><a/>",
        b"<!DOCTYPE a SYSTEM 'file:///etc/passwd'><a/>",
        b"<!DOCTYPE a [<!ENTITY b SYSTEM 'http://127.0.0.1/'>]><a>&b;</a>",
        b"<!DOCTYPE a [<!ENTITY b 'c'><!ENTITY d '&b;&b;&b;&b;'>]><a>&d;</a>",
        b"<!DOCTYPE a [<!ENTITY % b SYSTEM 'file:///etc/passwd'> %b;]><a/>",
        b"<!DOCTYPE a [<!ATTLIST a b CDATA 'c'>]><a/>",
        "<!DOCTYPE a><a/>".encode("utf-16"),
        b"<a>" * 65 + b"</a>" * 65,
        b"<a>" * 100_000,
        b"<a>" + b"<b/>" * 20_000 + b"</a>",
        b"<a " + b" ".join(b"a%d=''" % n for n in range(20_000)) + b"/>",
        b"<a " + b" ".join(b"xmlns:a%d='b'" % n for n in range(129)) + b"/>",
    ],
    ids=range(31),
)
def test_a_bad_body_is_a_bad_request(body: bytes) -> None:
    """RFC 4918 §8.2, §20.6: not well-formed, a document type, or out of all proportion: 400, and nothing is read."""
    with pytest.raises(BadRequest):
        bodies.parse_body(body)


@pytest.mark.parametrize(
    "body",
    [
        b"<a>" * 64 + b"</a>" * 64,
        b"<a>" + b"<b/>" * 19_999 + b"</a>",
        b"<a>" + b"b<!---->" * 100_000 + b"</a>",
        b"<a>" + b"&#65;" * 100_000 + b"</a>",
        b"<a>" + b"<b xmlns:c='d'/>" * 1_000 + b"</a>",
    ],
    ids=range(5),
)
def test_a_large_body_is_read(body: bytes) -> None:
    """Bodies within the limits are taken."""
    assert bodies.parse_body(body) is not None


def test_comments_and_instructions_are_gone() -> None:
    """RFC 4918 §17: neither ever shows up as a property or cuts a value in two."""
    root = parsed("<a>b<!-- c -->d<?e f?>g<![CDATA[<h>]]></a>")
    assert root.text == "bdg<h>"
    assert len(root) == 0


@given(st.binary(max_size=80) | st.text("<>/ax:='\"&;![]-?DAV", max_size=80).map(str.encode))
def test_no_body_breaks_the_parser(body: bytes) -> None:
    """Whatever is sent, there is an element, nothing, or a failure with a status."""
    try:
        root = bodies.parse_body(body)
    except Failure as failure:
        assert failure.status == 400
        return
    for parse in (bodies.parse_propfind, bodies.parse_proppatch, bodies.parse_lockinfo, bodies.parse_mkcol):
        try:
            parse(root)
        except Failure as failure:
            assert failure.status in (400, 415)


class Dribble(io.RawIOBase):
    """A connection that gives one byte at a time."""

    def __init__(self, data: bytes) -> None:
        self._bytes: Iterator[int] = iter(data)

    def read(self, size: int = -1) -> bytes:
        assert size > 0, "a read without bound may block for ever"
        return bytes([byte]) if (byte := next(self._bytes, None)) is not None else b""


class Broken(io.RawIOBase):
    def read(self, size: int = -1) -> bytes:
        raise ValueError("bad chunk")


@pytest.mark.parametrize(
    ("environ", "sent", "expected"),
    [
        ({}, b"abc", b""),
        ({"CONTENT_LENGTH": ""}, b"abc", b""),
        ({"CONTENT_LENGTH": "0"}, b"abc", b""),
        ({"CONTENT_LENGTH": "3"}, b"abcdef", b"abc"),
        ({"CONTENT_LENGTH": "10"}, b"0123456789", b"0123456789"),
        ({"CONTENT_LENGTH": "4"}, b"abc", BadRequest),
        ({"CONTENT_LENGTH": "11"}, b"0123456789a", TooLarge),
        ({"CONTENT_LENGTH": "9" * 5000}, b"", TooLarge),
        ({"CONTENT_LENGTH": "-1"}, b"abc", BadRequest),
        ({"CONTENT_LENGTH": "+1"}, b"abc", BadRequest),
        ({"CONTENT_LENGTH": "1_0"}, b"0123456789", BadRequest),
        ({"CONTENT_LENGTH": "٣"}, b"abc", BadRequest),
        ({"HTTP_TRANSFER_ENCODING": "chunked"}, b"0123456789", b"0123456789"),
        ({"HTTP_TRANSFER_ENCODING": "Chunked"}, b"", b""),
        ({"HTTP_TRANSFER_ENCODING": "chunked"}, b"0123456789a", TooLarge),
        ({"wsgi.input_terminated": True}, b"abc", b"abc"),
        ({"wsgi.input_terminated": True, "CONTENT_LENGTH": "4"}, b"abc", BadRequest),
        ({"HTTP_CONTENT_ENCODING": "identity", "CONTENT_LENGTH": "1"}, b"a", b"a"),
        ({"HTTP_CONTENT_ENCODING": "gzip", "CONTENT_LENGTH": "1"}, b"a", UnsupportedMediaType),
    ],
)
def test_read_body(environ: dict[str, object], sent: bytes, expected: bytes | type[Failure]) -> None:
    """RFC 9110 §8.4, §8.6, RFC 9112 §6: whole bodies within the limit, or a failure; no more is read."""
    environ = {"wsgi.input": Dribble(sent), **environ}
    if isinstance(expected, bytes):
        assert bodies.read_body(environ, 10) == expected
    else:
        with pytest.raises(expected):
            bodies.read_body(environ, 10)


def test_a_broken_chunk_is_a_bad_request() -> None:
    """What the server's reader raises does not cross the door."""
    with pytest.raises(BadRequest):
        bodies.read_body({"wsgi.input": Broken(), "HTTP_TRANSFER_ENCODING": "chunked"}, 10)


# Requests


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ("", Wanted("allprop")),
        ("<propfind xmlns='DAV:'><allprop/></propfind>", Wanted("allprop")),
        (
            "<D:propfind xmlns:D='DAV:'><D:allprop/><D:include><D:a/><b xmlns='c:'/></D:include></D:propfind>",
            Wanted("allprop", ("{DAV:}a", "{c:}b")),
        ),
        ("<D:propfind xmlns:D='DAV:'><D:propname/></D:propfind>", Wanted("propname")),
        ("<D:propfind xmlns:D='DAV:'><D:prop/></D:propfind>", Wanted("prop")),
        (
            "<D:propfind xmlns:D='DAV:'><D:prop><D:a/><!-- x --><b/><D:a/><c xmlns='d:'>e</c></D:prop></D:propfind>",
            Wanted("prop", ("{DAV:}a", "b", "{d:}c")),
        ),
        (
            "<d:propfind xmlns:d='DAV:'>x<d:prop>y<d:getetag/>z</d:prop><!-- -->;</d:propfind>",
            Wanted("prop", ("{DAV:}getetag",)),
        ),
        (
            "<D:propfind xmlns:D='DAV:'><E:x xmlns:E='e:'/><D:y/><D:propname/></D:propfind>",
            Wanted("propname"),
        ),
    ],
)
def test_propfind(body: str, wanted: Wanted) -> None:
    """RFC 4918 §9.1, §14.20, §17: one of three questions; unknown elements and stray text do not matter."""
    assert bodies.parse_propfind(bodies.parse_body(body.encode())) == wanted


@pytest.mark.parametrize(
    "body",
    [
        "<propfind/>",
        "<D:propertyupdate xmlns:D='DAV:'/>",
        "<D:propfind xmlns:D='DAV:'/>",
        "<D:propfind xmlns:D='DAV:'><D:include><D:a/></D:include></D:propfind>",
        "<D:propfind xmlns:D='DAV:'><prop/></D:propfind>",
        "<D:propfind xmlns:D='DAV:'><D:prop/><D:allprop/></D:propfind>",
        "<D:propfind xmlns:D='DAV:'><D:prop/><D:prop/></D:propfind>",
        "<D:propfind xmlns:D='dav:'><D:allprop/></D:propfind>",
    ],
)
def test_a_propfind_that_asks_nothing_is_refused(body: str) -> None:
    """RFC 4918 §14.20: exactly one of propname, allprop and prop."""
    with pytest.raises(BadRequest):
        bodies.parse_propfind(parsed(body))


def test_proppatch_keeps_the_order_of_the_document() -> None:
    """RFC 4918 §9.2: instructions are executed in document order."""
    instructions = bodies.parse_proppatch(
        parsed(
            "<D:propertyupdate xmlns:D='DAV:' xmlns:x='x:'>a"
            "<D:set><D:prop><x:a>1</x:a><!-- b --><x:b/></D:prop></D:set>"
            "<D:remove><D:prop><x:c/></D:prop></D:remove>"
            "<x:ignored><D:prop><x:d/></D:prop></x:ignored>"
            "<D:set><D:prop><x:a>2</x:a></D:prop></D:set>"
            "</D:propertyupdate>"
        )
    )
    said = [(verb, what if isinstance(what, str) else values.serialize_property(what)) for verb, what in instructions]
    assert said == [
        ("set", '<x:a xmlns:x="x:">1</x:a>'),
        ("set", '<x:b xmlns:x="x:"/>'),
        ("remove", "{x:}c"),
        ("set", '<x:a xmlns:x="x:">2</x:a>'),
    ]


@pytest.mark.parametrize(
    "body",
    [
        "",
        "<propertyupdate/>",
        "<D:propfind xmlns:D='DAV:'><D:prop/></D:propfind>",
        "<D:propertyupdate xmlns:D='DAV:'/>",
        "<D:propertyupdate xmlns:D='DAV:'><D:set/></D:propertyupdate>",
        "<D:propertyupdate xmlns:D='DAV:'><D:set><D:prop/></D:set></D:propertyupdate>",
        "<D:propertyupdate xmlns:D='DAV:'><D:set><D:a/></D:set></D:propertyupdate>",
    ],
)
def test_a_proppatch_that_changes_nothing_is_refused(body: str) -> None:
    """RFC 4918 §14.19, §14.26: at least one set or remove, with a property."""
    with pytest.raises(BadRequest):
        bodies.parse_proppatch(bodies.parse_body(body.encode()))


def test_mkcol() -> None:
    """RFC 5689 §3, §5.1: the set instructions of an extended MKCOL; without a body there are none."""
    assert bodies.parse_mkcol(None) == []
    [(verb, element)] = bodies.parse_mkcol(
        parsed(
            "<D:mkcol xmlns:D='DAV:'><D:remove><D:prop><D:a/></D:prop></D:remove><D:set><D:prop>"
            "<D:resourcetype><D:collection/></D:resourcetype></D:prop></D:set></D:mkcol>"
        )
    )
    assert verb == "set"
    assert not isinstance(element, str)
    assert element.tag == "{DAV:}resourcetype"
    with pytest.raises(BadRequest):
        bodies.parse_mkcol(parsed("<D:mkcol xmlns:D='DAV:'/>"))
    with pytest.raises(UnsupportedMediaType):
        bodies.parse_mkcol(parsed("<mkcol/>"))


@pytest.mark.parametrize(
    ("inside", "info"),
    [
        (
            "<D:lockscope><D:exclusive/></D:lockscope><D:locktype><D:write/></D:locktype>",
            LockInfo(True, ""),
        ),
        (
            "<D:locktype><D:write/></D:locktype><D:lockscope><D:shared/></D:lockscope><x/><D:owner>me</D:owner>",
            LockInfo(False, '<D:owner xmlns:D="DAV:">me</D:owner>'),
        ),
        (
            "<D:lockscope><x/><D:exclusive/></D:lockscope><D:locktype><D:write/><x/></D:locktype>"
            "<D:owner><D:href>http://a/?b&amp;c</D:href></D:owner>",
            LockInfo(True, '<D:owner xmlns:D="DAV:"><D:href>http://a/?b&amp;c</D:href></D:owner>'),
        ),
        ("", None),
        ("<D:lockscope><D:exclusive/></D:lockscope>", None),
        ("<D:locktype><D:write/></D:locktype>", None),
        ("<D:lockscope/><D:locktype><D:write/></D:locktype>", None),
        ("<D:lockscope><exclusive/></D:lockscope><D:locktype><D:write/></D:locktype>", None),
        ("<D:lockscope><D:exclusive/></D:lockscope><D:locktype><D:read/></D:locktype>", None),
        (
            "<D:lockscope><D:exclusive/><D:shared/></D:lockscope><D:locktype><D:write/></D:locktype>",
            None,
        ),
    ],
)
def test_lockinfo(inside: str, info: LockInfo | None) -> None:
    """RFC 4918 §9.10.1, §14.11, §14.13, §14.15: one scope, the write type, the owner as sent."""
    root = parsed(f"<D:lockinfo xmlns:D='DAV:'>{inside}</D:lockinfo>")
    if info is None:
        with pytest.raises(BadRequest):
            bodies.parse_lockinfo(root)
    else:
        assert bodies.parse_lockinfo(root) == info


@pytest.mark.parametrize("root", [None, "<lockinfo/>"])
def test_lockinfo_is_needed(root: str | None) -> None:
    """RFC 4918 §9.10.2: without a body LOCK is a refresh, which does not come here."""
    with pytest.raises(BadRequest):
        bodies.parse_lockinfo(None if root is None else parsed(root))


# Values


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("<r><p/></r>", "<p/>"),
        ("<r><p>a</p>tail</r>", "<p>a</p>"),
        ("<r xmlns='d:'><p/></r>", '<p xmlns="d:"/>'),
        ("<a:r xmlns:a='a:' xmlns:b='b:' xmlns:c='c:'><a:p><b:q/></a:p></a:r>",
         '<a:p xmlns:a="a:" xmlns:b="b:"><b:q/></a:p>'),
        ("<r xmlns:a='a:'><p b='1' a:c='2'/></r>", '<p xmlns:a="a:" b="1" a:c="2"/>'),
        ("<r xml:lang='de'><p/></r>", '<p xml:lang="de"/>'),
        ("<r xml:lang='de'><s xml:lang='en'><p/></s></r>", '<s xml:lang="en"><p/></s>'),
        ("<r xml:lang='de'><p xml:lang='en'/></r>", '<p xml:lang="en"/>'),
        ("<r><p xml:space='preserve'> </p></r>", '<p xml:space="preserve"> </p>'),
        ("<r xmlns:t='t:' xmlns:u='u:'><p>t:name</p></r>", '<p xmlns:t="t:">t:name</p>'),
        ("<r xmlns:t='t:'><p q='x t:name'/></r>", '<p xmlns:t="t:" q="x t:name"/>'),
        ("<r xmlns='d:'><p><q xmlns=''><s xmlns='d:'/></q></p></r>",
         '<p xmlns="d:"><q xmlns=""><s xmlns="d:"/></q></p>'),
        ("<r xmlns='d:'><p xmlns=''/></r>", "<p/>"),
        ("<r xmlns:a='b:'><a:p><a:q xmlns:a='c:'/></a:p></r>",
         '<a:p xmlns:a="b:"><a:q xmlns:a="c:"/></a:p>'),
        ("<r><p>a<b>c</b>d<e/>f</p></r>", "<p>a<b>c</b>d<e/>f</p>"),
        ("<r><p>&lt;&amp;&gt;\"'&#13;</p></r>", "<p>&lt;&amp;&gt;\"'&#13;</p>"),
        ("<r><p a='&lt;&amp;&quot;&#9;&#10;&#13;'/></r>", '<p a="&lt;&amp;&quot;&#9;&#10;&#13;"/>'),
        ("<r><p><![CDATA[<b>]]></p></r>", "<p>&lt;b&gt;</p>"),
        ("<r><日本>😀</日本></r>", "<日本>😀</日本>"),
    ],
)  # fmt: skip
def test_a_value_is_complete_by_itself(body: str, expected: str) -> None:
    """RFC 4918 §4.3: names, attributes, xml:lang in scope, mixed content and prefixes, in a few characters."""
    element = parsed(body)[0]
    assert values.serialize_property(element) == expected
    again = bodies.parse_property(expected)
    assert values.serialize_property(again) == expected


NAMES = st.sampled_from(["a", "b", "p:a", "q:a", "q:b"])
ATTRIBUTES = st.dictionaries(
    st.sampled_from(["c", "p:c", "q:c", "xml:lang", "xmlns", "xmlns:p", "xmlns:q", "xmlns:r"]),
    st.sampled_from(["u:", "v:", "w:", "r:x"]),
    max_size=4,
)


def element_text(name: str, attributes: dict[str, str], content: list[str]) -> str:
    said = "".join(f' {key}="{value}"' for key, value in attributes.items())
    return f"<{name}{said}>{''.join(content)}</{name}>"


DOCUMENTS = st.recursive(
    XML_TEXT.map(xml.text),
    lambda inner: st.builds(element_text, NAMES, ATTRIBUTES, st.lists(inner, max_size=4)),
    max_leaves=12,
)


@given(DOCUMENTS, NAMES, ATTRIBUTES)
def test_a_value_survives_storing(inner: str, name: str, attributes: dict[str, str]) -> None:
    """RFC 4918 §4.3: whatever a property holds, it is the same after it was stored and put into an answer."""
    body = f'<r xmlns:p="p:" xmlns:q="q:">{element_text(name, attributes, [inner])}</r>'
    try:
        element = parsed(body)[0]
    except BadRequest:  # two attributes of one name, by two prefixes
        return
    stored = values.serialize_property(element)
    assert shape(bodies.parse_property(stored)) == shape(element)
    answer = parsed(xml.response("/", [(200, [stored])]).replace("<D:response>", '<D:response xmlns:D="DAV:">', 1))
    prop = answer.find("{DAV:}propstat/{DAV:}prop")
    assert prop is not None
    assert shape(prop[0]) == shape(element)


def test_many_namespaces_in_a_large_value() -> None:
    """A value at the limits is stored; no look-up grows with the text."""
    declared = " ".join(f"xmlns:a{n}='b{n}'" for n in range(100))
    element = parsed(f"<r><p {declared}>{'<c/>a1:d ' * 5_000}</p></r>")[0]
    assert values.serialize_property(element).startswith('<p xmlns:a1="b1"><c/>a1:d ')


@pytest.mark.parametrize("fragment", ["", "text", "<a", "<!DOCTYPE a><a/>"])
def test_what_is_no_property_is_refused(fragment: str) -> None:
    """Stored values come back through the same parser."""
    with pytest.raises(BadRequest):
        bodies.parse_property(fragment)


# Answers


def test_the_content_type_is_exact() -> None:
    """Sync clients reject `text/xml`, a quoted or upper-case charset, and none."""
    assert xml.CONTENT_TYPE == "application/xml; charset=utf-8"


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("{DAV:}getetag", "", "<D:getetag/>"),
        ("{DAV:}getetag", '"a"', '<D:getetag>"a"</D:getetag>'),
        ('{a:&"}b', "c", '<x:b xmlns:x="a:&amp;&quot;">c</x:b>'),
        ("{a:}b", "", '<x:b xmlns:x="a:"/>'),
        ("{http://owncloud.org/ns}b", "c", "<oc:b>c</oc:b>"),
        ("{http://nextcloud.org/ns}b", "", "<nc:b/>"),
        ("b", "c", "<b>c</b>"),
    ],
)
def test_fragments(name: str, content: str, expected: str) -> None:
    """Namespaces in XML: `D:`, `oc:` and `nc:` are declared once, every other namespace where it is used."""
    assert xml.fragment(name, content) == expected


def test_a_multistatus() -> None:
    """RFC 4918 §13, §14.16, §14.22, §14.24: the shape of a 207, byte for byte."""
    body = Multistatus(trailer="<D:sync-token>t</D:sync-token>")
    body.response("/a/", [(200, ["<D:a>1</D:a>", '<x:b xmlns:x="y"/>']), Propstat(403, ["<D:c/>"], "no-write")])
    body.status_response("/a/b&c", 423, "lock-token-submitted", "a <lock>")
    body.status_response("/d", 404)
    body.response("/e", [])
    body.add("<D:response/>")
    assert body.close().decode() == (
        '<?xml version="1.0" encoding="utf-8"?>\n<D:multistatus xmlns:D="DAV:" xmlns:oc="http://owncloud.org/ns"'
        ' xmlns:nc="http://nextcloud.org/ns">'
        "<D:response><D:href>/a/</D:href>"
        '<D:propstat><D:prop><D:a>1</D:a><x:b xmlns:x="y"/></D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat>'
        "<D:propstat><D:prop><D:c/></D:prop><D:status>HTTP/1.1 403 Forbidden</D:status>"
        "<D:error><D:no-write/></D:error></D:propstat></D:response>"
        "<D:response><D:href>/a/b&amp;c</D:href><D:status>HTTP/1.1 423 Locked</D:status>"
        "<D:error><D:lock-token-submitted/></D:error>"
        "<D:responsedescription>a &lt;lock&gt;</D:responsedescription></D:response>"
        "<D:response><D:href>/d</D:href><D:status>HTTP/1.1 404 Not Found</D:status></D:response>"
        "<D:response><D:href>/e</D:href>"
        "<D:propstat><D:prop/><D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response>"
        "<D:response/><D:sync-token>t</D:sync-token></D:multistatus>"
    )


def test_a_multistatus_is_streamed() -> None:
    """Ten thousand members leave in pieces while they are being made, and add up to the whole."""
    made = 0

    def members() -> Iterator[str]:
        nonlocal made
        for number in range(10_000):
            made += 1
            yield xml.response(f"/a/{number}", [(200, ["<D:getetag/>"])])

    pieces = iter(Multistatus(members()))
    first = next(pieces)
    assert made < 1_000
    whole = first + b"".join(pieces)
    assert made == 10_000
    root = etree.fromstring(whole)
    assert [response.findtext("{DAV:}href") for response in root] == [f"/a/{number}" for number in range(10_000)]
    assert whole == Multistatus(members()).close()


@given(st.text(max_size=40))
def test_no_text_breaks_an_answer(value: str) -> None:
    """XML 1.0 §2.2, §2.4: what it can carry comes back, what it cannot is replaced, markup stays text."""
    root = etree.fromstring(f"<a>{xml.text(value)}</a>".encode())
    assert len(root) == 0
    came_back = root.text or ""
    assert len(came_back) == len(value)
    assert all(before == after or after == "\ufffd" for before, after in zip(value, came_back, strict=True))


@given(XML_TEXT)
def test_text_that_xml_can_carry_is_kept(value: str) -> None:
    """XML 1.0 §2.11: not even a carriage return is lost."""
    assert (etree.fromstring(f"<a>{xml.text(value)}</a>".encode()).text or "") == value


@pytest.mark.parametrize(
    ("condition", "hrefs", "message", "inside"),
    [
        (None, (), "", ""),
        (None, (), "a < b", "<s:message>a &lt; b</s:message>"),
        ("no-conflicting-lock", (), "", "<D:no-conflicting-lock/>"),
        (
            "lock-token-submitted",
            ("/a", "/b&c"),
            "m",
            "<D:lock-token-submitted><D:href>/a</D:href><D:href>/b&amp;c</D:href></D:lock-token-submitted>"
            "<s:message>m</s:message>",
        ),
    ],
)
def test_an_error_body(condition: str | None, hrefs: tuple[str, ...], message: str, inside: str) -> None:
    """RFC 4918 §14.5, §16: the condition with its resources, and a message in the form that sync clients show."""
    assert xml.error_body(condition, hrefs, message).decode() == (
        '<?xml version="1.0" encoding="utf-8"?>\n'
        f'<D:error xmlns:D="DAV:" xmlns:s="http://sabredav.org/ns">{inside}</D:error>'
    )
