"""Strict reader of flat XML documents from outside: one meaning per text, one kind of error.

It refuses dangerous or ambiguous XML at once: document types (and so all entities and external references),
attributes, namespaces, comments, and encodings other than UTF-8.
"""

from __future__ import annotations

from typing import Final, NoReturn
from xml.parsers import expat

_ENCODING: Final = "utf-8"
_WHITESPACE: Final = " \t\r\n"  # XML's own; str.strip() would drop more


class MalformedError(ValueError):
    """The bytes are not an acceptable document; the text quotes none of them."""


def parse_elements(data: bytes, root: str) -> dict[str, str]:
    """Read the document in ``data``: an element ``root`` of elements that hold only text. Returns name to text.

    An empty element has the text ``""``. Raises only MalformedError, for everything else, such as a repeated name.
    """
    if b"\0" in data:  # never in UTF-8 text; expat would assume UTF-16, whatever the given encoding
        raise MalformedError("another encoding than UTF-8")
    reader = _Reader(root)
    try:
        reader.parser.Parse(data, True)  # noqa: FBT003 (expat accepts no keyword; True: this is the whole document)
    except MalformedError:
        raise
    except (expat.ExpatError, ValueError):
        raise MalformedError("not XML") from None
    return reader.values


class _Reader:
    """Handles expat's events. Without a document type expat expands no entity and opens no file or URL."""

    def __init__(self, root: str) -> None:
        self.values: dict[str, str] = {}
        self._root = root
        self._path: list[str] = []
        # The encoding given here overrides the document's declaration, which is compared with it.
        self.parser = expat.ParserCreate(_ENCODING)
        self.parser.buffer_text = True
        self.parser.XmlDeclHandler = _declaration
        self.parser.StartDoctypeDeclHandler = _document_type
        self.parser.CommentHandler = _comment
        self.parser.ProcessingInstructionHandler = _instruction
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._text

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        if attributes:
            raise MalformedError("an attribute")
        match len(self._path):
            case 0 if name != self._root:
                raise MalformedError("another root")
            case 1 if name in self.values:
                raise MalformedError("a repeated name")
            case 1:
                self.values[name] = ""
            case 2:
                raise MalformedError("nested too deeply")
        self._path.append(name)

    def _end(self, _name: str) -> None:
        self._path.pop()

    def _text(self, text: str) -> None:
        if len(self._path) == 2:
            self.values[self._path[-1]] += text
        elif text.strip(_WHITESPACE):
            raise MalformedError("text between elements")


def _declaration(version: str, encoding: str | None, _standalone: int) -> None:
    if version != "1.0":
        raise MalformedError("another version of XML")
    if encoding is not None and encoding.lower() != _ENCODING:
        raise MalformedError("another encoding than UTF-8")


def _document_type(*_declared: object) -> NoReturn:
    raise MalformedError("a document type")


def _comment(_text: str) -> NoReturn:
    # Parsers disagree on the text of <status>declined<!-- --> later</status>.
    raise MalformedError("a comment")


def _instruction(_target: str, _text: str) -> NoReturn:
    raise MalformedError("a processing instruction")
