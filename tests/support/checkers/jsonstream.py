"""JSON documents one after the other, as their bytes come."""

from __future__ import annotations

import codecs
import json
from typing import Any


class JsonStream:
    """Takes bytes and returns each document that is whole; whatever white space, or none, stands between them.

    Documents are objects or lists: the end of a number would not be known.
    """

    def __init__(self) -> None:
        self._decoder = json.JSONDecoder()
        self._characters = codecs.getincrementaldecoder("utf-8")()
        self._text = ""

    def feed(self, chunk: bytes) -> list[Any]:
        """Take bytes; return the documents that they complete."""
        self._text += self._characters.decode(chunk)
        documents: list[Any] = []
        at = 0
        if b"}" not in chunk and b"]" not in chunk:
            return documents
        while True:
            while at < len(self._text) and self._text[at].isspace():
                at += 1
            try:
                document, at = self._decoder.raw_decode(self._text, at)
            except ValueError:
                break
            documents.append(document)
        self._text = self._text[at:]
        return documents
