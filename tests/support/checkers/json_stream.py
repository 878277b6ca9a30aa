"""Incremental parsing of concatenated JSON documents."""

from __future__ import annotations

import codecs
import json
from typing import Any


class JsonStream:
    """Takes bytes and returns each complete document, with or without white space between them.

    Documents are objects or lists: the end of a number could not be recognized.
    """

    def __init__(self) -> None:
        self._decoder = json.JSONDecoder()
        self._characters = codecs.getincrementaldecoder("utf-8")()
        self._text = ""

    def feed(self, chunk: bytes) -> list[Any]:
        """Parse more bytes; return the documents that they complete."""
        self._text += self._characters.decode(chunk)
        documents: list[Any] = []
        position = 0
        if b"}" not in chunk and b"]" not in chunk:
            return documents
        while True:
            while position < len(self._text) and self._text[position].isspace():
                position += 1
            try:
                document, position = self._decoder.raw_decode(self._text, position)
            except ValueError:
                break
            documents.append(document)
        self._text = self._text[position:]
        return documents
