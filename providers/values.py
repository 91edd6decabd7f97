"""Values of dead properties, as they are kept."""

import re
from collections.abc import Mapping, Set

from lxml import etree

from providers.xml import attribute, text

_XML_NAMESPACE = "http://www.w3.org/XML/1998/namespace"
_LANG = f"{{{_XML_NAMESPACE}}}lang"
_PREFIX = re.compile(r"([\w.\-]++):")


def serialize_property(element: etree._Element) -> str:
    """A property with its value, complete wherever it is put.

    Kept is what RFC 4918 §4.3 asks for: names, attributes, text and elements in their order, the language in
    scope (`xml:lang`), and the prefixes, since the value may hold qualified names.
    """
    used: set[str | None] = set()  # namespaces of elements and attributes, and prefixes in front of a colon
    for one in element.iter():
        used.add(etree.QName(one).namespace)
        used.update(etree.QName(name).namespace for name in one.attrib)
        for value in (one.text, one.tail, *one.attrib.values()):
            if value and ":" in value:
                used.update(f"{prefix}:" for prefix in _PREFIX.findall(value))
    attributes = _attributes(element)
    if _LANG not in attributes:
        in_scope = next((above.get(_LANG) for above in element.iterancestors() if _LANG in above.attrib), None)
        if in_scope:
            attributes[_LANG] = in_scope
    pieces: list[str] = []
    _write(element, attributes, {}, used, pieces)
    return "".join(pieces)


def _attributes(element: etree._Element) -> dict[str, str]:
    return {str(name): str(value) for name, value in element.attrib.items()}


def _write(
    element: etree._Element,
    attributes: Mapping[str, str],
    scope: Mapping[str | None, str],
    used: Set[str | None],
    pieces: list[str],
) -> None:
    """Write one element and what is in it.

    Args:
        scope: the namespaces declared around it in the output.
        used: the namespaces, and prefixes with a colon, that the whole property needs.
    """
    name = etree.QName(element)
    in_scope = {prefix: uri for prefix, uri in element.nsmap.items() if uri}
    if name.namespace is None:
        in_scope.pop(None, None)
    declared = {
        prefix: uri
        for prefix, uri in in_scope.items()
        if scope.get(prefix) != uri and (uri in used or f"{prefix}:" in used)
    }
    if name.namespace is None and scope.get(None):
        declared[None] = ""
    prefixes = {uri: prefix for prefix, uri in in_scope.items() if prefix} | {_XML_NAMESPACE: "xml"}

    tag = f"{element.prefix}:{name.localname}" if element.prefix else name.localname
    pieces.append(f"<{tag}")
    for prefix, uri in sorted(declared.items(), key=lambda item: item[0] or ""):
        pieces.append(f' xmlns:{prefix}="{attribute(uri)}"' if prefix else f' xmlns="{attribute(uri)}"')
    for name_of, value in attributes.items():
        of = etree.QName(name_of)
        key = f"{prefixes[of.namespace]}:{of.localname}" if of.namespace else of.localname
        pieces.append(f' {key}="{attribute(value)}"')
    if not element.text and len(element) == 0:
        pieces.append("/>")
        return
    pieces.append(f">{text(element.text or '')}")
    inner = {**scope, **declared}
    for child in element:
        _write(child, _attributes(child), inner, used, pieces)
        pieces.append(text(child.tail or ""))
    pieces.append(f"</{tag}>")
