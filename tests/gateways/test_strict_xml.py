"""XML from outside: one meaning or an error. Nothing is expanded, fetched or opened."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from xml.sax.saxutils import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateways.strict_xml import MalformedError, parse_elements
from tests.gateways.peer import Behave, Peer, answers

LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 12))

REFUSED = {
    "nothing": b"",
    "white space": b" \n",
    "text": b"success",
    "not closed": b"<r><a>1</a>",
    "closed by another": b"<r><a>1</b></r>",
    "two roots": b"<r/><r/>",
    "something behind": b"<r/>x",
    "another root": b"<s><a>1</a></s>",
    "the root in capitals": b"<R><a>1</a></R>",
    "a name twice": b"<r><a>1</a><a>1</a></r>",
    "an empty name twice": b"<r><a/><a/></r>",
    "deeper": b"<r><a><b>1</b></a></r>",
    "deeper, and empty": b"<r><a>1<b/></a></r>",
    "deep": b"<r>" * 30_000,
    "text between": b"<r>1<a>1</a></r>",
    "a no-break space between": "<r>\u00a0<a>1</a></r>".encode(),
    "an attribute": b'<r><a x="1">1</a></r>',
    "an attribute of the root": b'<r x="1"><a>1</a></r>',
    "an attribute twice": b'<r x="1" x="1"/>',
    "a namespace": b'<r xmlns="urn:r"><a>1</a></r>',
    "a comment": b"<r><a>1<!-- 2 -->3</a></r>",
    "a comment in front": b"<!-- x --><r/>",
    "an instruction": b"<r><a>1<?x y?></a></r>",
    "a style sheet": b'<?xml-stylesheet href="x"?><r/>',
    "a document type": b"<!DOCTYPE r><r/>",
    "an entity": b'<!DOCTYPE r [<!ENTITY a "1">]><r><a>&a;</a></r>',
    "an undeclared entity": b"<r><a>&a;</a></r>",
    "a billion laughs": f'<!DOCTYPE r [<!ENTITY l0 "ha">{LAUGHS}]><r><a>&l11;</a></r>'.encode(),
    "a quadratic blow-up": b'<!DOCTYPE r [<!ENTITY a "' + b"x" * 30_000 + b'">]><r>' + b"&a;" * 9_000 + b"</r>",
    "a parameter entity": b"<!DOCTYPE r [<!ENTITY % a \"<!ENTITY b '1'>\"> %a;]><r><a>&b;</a></r>",
    "a defaulted attribute": b'<!DOCTYPE r [<!ATTLIST r x CDATA "1">]><r/>',
    "no UTF-8": b"<r><a>\xff</a></r>",
    "half a character": b"<r><a>\xed\xa0\x80</a></r>",
    "half a character by number": b"<r><a>&#xD800;</a></r>",
    "an overlong character": b"<r><a>\xc0\xbc</a></r>",
    "a NUL": b"<r><a>\0</a></r>",
    "a NUL by number": b"<r><a>&#0;</a></r>",
    "Latin 1, declared": b'<?xml version="1.0" encoding="ISO-8859-1"?><r><a>\xe4</a></r>',
    "Latin 1, declared, all ASCII": b'<?xml version="1.0" encoding="ISO-8859-1"?><r><a>1</a></r>',
    "an unknown encoding": b'<?xml version="1.0" encoding="x-rot13"?><r/>',
    "UTF-7": b'<?xml version="1.0" encoding="UTF-7"?><r>+ADw-a/+AD4-</r>',
    "UTF-16": '<?xml version="1.0" encoding="UTF-16"?><r/>'.encode("utf-16"),
    "UTF-16, undeclared": "<r/>".encode("utf-16"),
    "UTF-16, without a mark": "<r/>".encode("utf-16-le"),
    "UTF-16, without a mark, the other way round": "<r/>".encode("utf-16-be"),
    "UTF-32": "<r/>".encode("utf-32"),
    "version 1.1": b'<?xml version="1.1"?><r/>',
    "a declaration too late": b' <?xml version="1.0"?><r/>',
    "JSON": b'{"a": 1}',
    "HTML": b"<!doctype html><r/>",
}


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED)
def test_invalid_documents_are_refused(data: bytes) -> None:
    """A document that is invalid, ambiguous or dangerous is refused with MalformedError."""
    with pytest.raises(MalformedError):
        parse_elements(data, "r")


@pytest.mark.parametrize("name", [name for name, data in REFUSED.items() if b"<!DOCTYPE" in data])
def test_a_document_type_is_refused_at_its_declaration(name: str) -> None:
    """The refusal comes at the declaration, before entities are expanded and before a limit of expat applies."""
    with pytest.raises(MalformedError, match=r"^a document type$"):
        parse_elements(REFUSED[name], "r")
    cut_there = REFUSED[name].partition(b"[")[0] + b"["
    with pytest.raises(MalformedError, match=r"^a document type$"):
        parse_elements(cut_there, "r")


@pytest.mark.parametrize(
    "document",
    [
        '<!DOCTYPE r SYSTEM "{where}"><r/>',
        '<!DOCTYPE r PUBLIC "-//x//y" "{where}"><r/>',
        '<!DOCTYPE r [<!ENTITY a SYSTEM "{where}">]><r><a>&a;</a></r>',
        '<!DOCTYPE r [<!ENTITY % a SYSTEM "{where}"> %a;]><r/>',
        '<r><a><x:include xmlns:x="http://www.w3.org/2001/XInclude" href="{where}"/></a></r>',
    ],
)
def test_nothing_external_is_fetched(tmp_path: Path, peers: Callable[[Behave], Peer], document: str) -> None:
    """No file or address that a document names is opened; the document is refused."""
    secret = tmp_path / "secret"
    secret.write_text("s3cr3t", "utf-8")
    peer = peers(answers(200, b"<!ELEMENT r ANY>"))
    for where in (secret.as_uri(), str(secret), f"{peer.url}/x.dtd"):
        with pytest.raises(MalformedError) as caught:
            parse_elements(document.replace("{where}", where).encode(), "r")
        assert "s3cr3t" not in str(caught.value)
    assert peer.connections == 0


@pytest.mark.parametrize(
    ("data", "values"),
    [
        (b"<r/>", {}),
        (b"<r><a/><b></b></r>", {"a": "", "b": ""}),
        (b'<?xml version="1.0" encoding="utf-8" standalone="yes"?>\n<r>\n <a>1</a>\n</r>\n', {"a": "1"}),
        (b"\xef\xbb\xbf<r><a>1</a></r>", {"a": "1"}),
        (b"<r><a>&lt;&amp;&#228;&#x20AC;</a></r>", {"a": "<&ä€"}),
        (b"<r><a>1<![CDATA[<2>]]>3</a></r>", {"a": "1<2>3"}),
        (b"<r><a> 1 </a></r>", {"a": " 1 "}),
    ],
)
def test_valid_documents_are_read(data: bytes, values: dict[str, str]) -> None:
    """Different XML spellings of the same text have the same value, and white space in a value stays."""
    assert parse_elements(data, "r") == values


NAMES = st.from_regex(r"[a-z][a-z_]{0,9}", fullmatch=True)
# The characters that XML can contain. It turns a carriage return into a line feed.
TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"), max_size=20)


@given(st.dictionaries(NAMES, TEXTS, max_size=5))
def test_valid_documents_are_read_unchanged(values: dict[str, str]) -> None:
    """A document of elements with texts is read unchanged."""
    inner = "".join(f"<{name}>{escape(text)}</{name}>" for name, text in values.items())
    assert parse_elements(f"<r>{inner}</r>".encode(), "r") == values


@given(st.binary(max_size=60) | st.lists(st.sampled_from(list(REFUSED.values())), max_size=3).map(b"".join))
def test_no_other_error(data: bytes) -> None:
    """Any bytes give elements or MalformedError."""
    with suppress(MalformedError):
        parse_elements(data, "r")


def test_an_incomplete_document_is_refused() -> None:
    """A document that ends too early is refused, wherever it ends."""
    data = b"<r><a>1</a><b/></r>"
    for end in range(len(data)):
        with pytest.raises(MalformedError):
            parse_elements(data[:end], "r")
