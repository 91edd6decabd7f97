"""What a 207 says (RFC 4918 §13), read as leniently as most clients do."""

from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from baludav.doctor.finding import Ill
from baludav.doctor.wire import Answer

DAV = "{DAV:}"
OC = "{http://owncloud.org/ns}"


def responses(answer: Answer, method: str = "PROPFIND") -> list[Element]:
    """The responses of a 207.

    Raises:
        Ill: it is none.
    """
    if answer.status != 207:
        raise Ill(f"{method} is answered {answer.status} instead of 207")
    try:
        root = fromstring(answer.body)
    except (ParseError, DefusedXmlException) as error:
        raise Ill(f"the answer to {method} is not the XML it should be: {error}") from error
    return list(root.iterfind(f"{DAV}response"))


def properties(response: Element) -> dict[str, Element]:
    """The properties that were found, by name."""
    found = {}
    for propstat in response.iterfind(f"{DAV}propstat"):
        if " 200" in propstat.findtext(f"{DAV}status", ""):
            found.update({element.tag: element for element in propstat.iterfind(f"{DAV}prop/*")})
    return found


def refused(response: Element) -> list[str]:
    """The status lines of properties that could not be set or removed."""
    lines = [propstat.findtext(f"{DAV}status", "") for propstat in response.iterfind(f"{DAV}propstat")]
    return [line for line in lines if " 200" not in line]


def asking(*names: str) -> bytes:
    """The body of a PROPFIND for properties named as `{namespace}name`."""
    parted = [name[1:].split("}") for name in names]
    asked = "".join(f'<x:{local} xmlns:x="{namespace}"/>' for namespace, local in parted)
    return f'<?xml version="1.0"?><D:propfind xmlns:D="DAV:"><D:prop>{asked}</D:prop></D:propfind>'.encode()
