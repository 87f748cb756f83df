"""The accounts that filters of the admin panel name."""

from kiai.errors import NotFound
from kiai.osu.numbers import whole_number
from kiai.staff.authority import Authority


async def account_id(authority: Authority, text: str) -> int | None:
    """Return the id for a name or for `#` and an id, None without a text. Raises NotFound("user").

    An id needs no account: rows about deleted accounts stay, and 0 is the server or its operator.
    """
    if not text:
        return None
    number = whole_number(text.removeprefix("#"), 2**31 - 1)
    if text.startswith("#") and number is not None:
        return number
    try:
        return (await authority.target(text)).id
    except NotFound:
        if number is not None:
            return number
        raise
