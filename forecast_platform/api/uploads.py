"""Uploads, from the socket to the disk: a raw body, or the file of a form; never held whole."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from forecast_platform.training_jobs.uploads import FORM_BYTES

if TYPE_CHECKING:
    from starlette.requests import Request


class TooLargeError(ValueError):
    """The file is larger than what is taken."""


class NoFileError(ValueError):
    """The request holds no file."""


def declared_size(request: Request, most: int) -> int | None:
    """Bytes that the request says its body has. Raises TooLargeError where no file of `most` bytes has so many."""
    declared = request.headers.get("content-length", "")
    if not declared.isdecimal():
        return None
    if int(declared) > most + FORM_BYTES:
        raise TooLargeError
    return int(declared)


async def write_body(request: Request, path: Path, most: int) -> tuple[int, str]:
    """Write the request's file to `path`; returns its bytes and the name that it came with.

    Raises TooLargeError, NoFileError.
    """
    content_type = request.headers.get("content-type", "")
    with path.open("wb") as stream:
        if content_type.partition(";")[0].strip().lower() == "multipart/form-data":
            return await _form_file(request, content_type, stream, most)
        size = 0
        async for block in request.stream():
            size += len(block)
            if size > most:
                raise TooLargeError
            stream.write(block)
    if not size:
        raise NoFileError("the body is empty")
    return size, request.query_params.get("name", "data")


async def _form_file(request: Request, content_type: str, stream: Any, most: int) -> tuple[int, str]:
    """The first part of a form that has a file's name."""
    from python_multipart.exceptions import FormParserError
    from python_multipart.multipart import MultipartParser, parse_options_header

    boundary = parse_options_header(content_type)[1].get(b"boundary")
    if not boundary:
        raise NoFileError("the form names no boundary")
    part = _Part(stream, most, parse_options_header)
    parser = MultipartParser(boundary, part.callbacks())
    try:
        async for block in request.stream():
            parser.write(block)
        parser.finalize()
    except FormParserError as error:
        raise NoFileError(f"no whole form: {error}") from None
    if part.name is None or not part.size:
        raise NoFileError("the form holds no file, or an empty one")
    return part.size, part.name


class _Part:
    """Takes the first file of a form as its bytes come."""

    def __init__(self, stream: Any, most: int, options: Any) -> None:
        self._stream, self._most, self._options = stream, most, options
        self._field, self._value, self._here, self._done = b"", b"", False, False
        self.size = 0
        self.name: str | None = None

    def callbacks(self) -> Any:
        """What the parser calls."""
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._add_field,
            "on_header_value": self._add_value,
            "on_header_end": self._header,
            "on_part_data": self._data,
            "on_part_end": self._end,
        }

    def _begin(self) -> None:
        self._field, self._value, self._here = b"", b"", False

    def _add_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _add_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header(self) -> None:
        if self._field.lower() == b"content-disposition" and not self._done:
            given = self._options(self._value)[1].get(b"filename")
            if given is not None:
                self._here, self.name = True, given.decode("utf-8", "replace")
        self._field, self._value = b"", b""

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._here:
            self.size += end - start
            if self.size > self._most:
                raise TooLargeError
            self._stream.write(data[start:end])

    def _end(self) -> None:
        self._done = self._done or self._here
        self._here = False
