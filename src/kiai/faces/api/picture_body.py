"""Bodies that are pictures: a field of a multipart form, or the whole body."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

import falcon
import falcon.asgi

from kiai.accounts.picture_files import UPLOAD_MAX
from kiai.faces.api.errors import BadRequest
from kiai.faces.request_body import BodyTooLarge, read_body

FORM_OVERHEAD: Final = 64 * 1024  # boundaries and headers of the parts, and small fields that are ignored


def picture_content(field: str) -> dict[str, Any]:
    """Return the OpenAPI content of a body with a picture in this field."""
    # A body that is only the picture is accepted as well. Generated clients need one type of body for each operation.
    return {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "properties": {field: {"type": "string", "format": "binary"}},
                "required": [field],
            }
        },
    }


def picture_body(field: str) -> Callable[[falcon.asgi.Request], Awaitable[bytes]]:
    """Return a function that reads the picture in this field of a multipart form, or else the whole body.

    The function raises BadRequest and BodyTooLarge.
    """

    async def read(req: falcon.asgi.Request) -> bytes:
        kind = (req.content_type or "").partition(";")[0].strip().lower()
        if kind != "multipart/form-data":
            return await read_body(req, UPLOAD_MAX)
        # Before anything is read, so that a too large upload fails at once. Without a Content-Length the loop stops it.
        if req.content_length is not None and req.content_length > UPLOAD_MAX + FORM_OVERHEAD:
            raise BodyTooLarge(f"The body has {req.content_length} bytes; a picture may have at most {UPLOAD_MAX}.")
        found: bytes | None = None
        try:
            form = await req.get_media()
            async for part in form:
                if part.name != field:
                    continue
                if found is not None:
                    raise BadRequest(f"The field {field} must be given once.")
                found = await part.stream.read(UPLOAD_MAX + 1)  # one byte more shows that the part is too large
                if len(found) > UPLOAD_MAX:
                    raise BodyTooLarge(f"The picture has more than {UPLOAD_MAX} bytes.")
        except falcon.HTTPError as error:  # Falcon's parser met a malformed boundary or header
            raise BadRequest("The multipart form is malformed.") from error
        if found is None:
            raise BadRequest(f"The field {field} is required: a PNG, JPEG, GIF or WebP picture.")
        return found

    return read
