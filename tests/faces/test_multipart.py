import io
import tracemalloc

import falcon
import pytest
from falcon.media.multipart import MultipartFormHandler, MultipartParseOptions
from hypothesis import example, given
from hypothesis import strategies as st

from kiai.errors import Refused
from kiai.faces.multipart import PART_HEADERS_MAX, MultipartParser, Part
from kiai.faces.request_body import BodyTooLarge

TYPE = "multipart/form-data; boundary=b-1"
PARTS_MAX = 4

# Pieces of forms, right and wrong, which hypothesis joins in any order.
headers = st.sampled_from(
    [
        b'Content-Disposition: form-data; name="score"',
        b'Content-Disposition: form-data; name="score"; filename="replay"\r\nContent-Type: application/octet-stream',
        b'content-disposition: form-data; name=score; filename="a \\"b\\".osr"',
        b'Content-Disposition: form-data; filename="x"; name="y;z"',
        b"Content-Disposition: form-data; name=\"a\"; filename*=UTF-8''%e2%82%ac.png",
        b"Content-Disposition: form-data; name=\"a\"; filename*=nothing''%e2%82%ac.png",
        b'Content-Disposition: form-data; name="\xc3\xa4"',
        b'Content-Disposition: form-data; name="a\tb"; filename=""',
        b"Content-Disposition: form-data",
        b'Content-Transfer-Encoding: base64\r\nContent-Disposition: form-data; name="a"',
        b"X-Other: 1",
        b"",
    ]
)
pieces = st.one_of(
    st.sampled_from(
        [b"--b-1", b"\r\n--b-1", b"\r\n--b-1\r\n", b"\r\n--b-1--", b"--", b"\r\n", b"\r\n\r\n", b"\r", b"-"]
    ),
    headers,
    st.binary(max_size=12),
)
contents = st.one_of(st.binary(max_size=40), st.lists(pieces, max_size=4).map(b"".join))
forms = st.lists(st.tuples(headers, contents), max_size=5).map(
    lambda parts: b"".join(b"--b-1\r\n%b\r\n\r\n%b\r\n" % part for part in parts) + b"--b-1--\r\n"
)
bodies = st.one_of(forms, st.lists(pieces, max_size=12).map(b"".join))


def by_falcon(body: bytes, content_type: str = TYPE) -> list[Part] | None:
    """Return the parts that Falcon finds, or None for a malformed form."""
    options = MultipartParseOptions()
    options.max_body_part_count = PARTS_MAX
    options.max_body_part_headers_size = PART_HEADERS_MAX
    try:
        form = MultipartFormHandler(options).deserialize(io.BytesIO(body), content_type, len(body))
        found = []
        for part in form:
            content = part.stream.read()
            found.append((part.name or "", part.filename, content))
    except (falcon.HTTPError, UnicodeDecodeError):
        return None
    return found


def parsed(
    body: bytes, content_type: str = TYPE, *, chunk: int = 1 << 20, part_max: int = 1 << 20
) -> list[Part] | None:
    try:
        parser = MultipartParser(content_type, parts_max=PARTS_MAX, part_max=part_max)
        for start in range(0, len(body), chunk):
            parser.feed(body[start : start + chunk])
        parser.finish()
    except Refused:
        return None
    return parser.parts


def form(*parts: bytes) -> bytes:
    return b"".join(b"--b-1\r\n%b\r\n" % part for part in parts) + b"--b-1--\r\n"


@given(body=bodies, chunk=st.integers(1, 50))
@example(body=b"preamble\r\n--b-1--", chunk=3)
@example(body=b"--b-1--epilogue\r\n--b-1\r\n", chunk=3)
@example(body=b"", chunk=1)
@example(body=b'--b-1xxContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--b-1--\r\n', chunk=3)
@example(body=b'--b-1\r\nX: \r\n--b-1\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--b-1--', chunk=3)
@example(body=b'--b-1\r\nContent-Disposition: form-data; name="a"\r\n\r\n--b-1\r\n\r\n\r\n--b-1--', chunk=3)
@example(body=b'--b-1\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--b-1 \r\n--b-1--', chunk=3)
@example(body=b'--b-1\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--b-1', chunk=3)
def test_parts_are_those_that_falcon_finds_however_they_arrive(body: bytes, chunk: int) -> None:
    assert parsed(body, chunk=chunk) == parsed(body) == by_falcon(body)


@pytest.mark.parametrize(
    "content_type",
    [
        "multipart/form-data",
        "multipart/form-data; boundary=",
        'multipart/form-data; boundary="b-1"',
        "multipart/form-data; charset=x; boundary=b-1",
        "multipart/form-data; boundary=" + "b" * 70,
        "multipart/form-data; boundary=" + "b" * 71,
    ],
)
def test_boundary_is_read_as_by_falcon(content_type: str) -> None:
    body = form(b'Content-Disposition: form-data; name="a"\r\n\r\n1').replace(
        b"b-1", b"b" * 70 if "bb" in content_type else b"b-1"
    )

    assert parsed(body, content_type) == by_falcon(body, content_type)


def test_number_of_parts_and_the_size_of_their_headers_are_limited_as_by_falcon() -> None:
    part = b'Content-Disposition: form-data; name="a"\r\n\r\n1'
    long = b'Content-Disposition: form-data; name="%b"\r\n\r\n1'
    room = PART_HEADERS_MAX - len(b'Content-Disposition: form-data; name=""')

    for body in (
        form(*[part] * PARTS_MAX),
        form(*[part] * (PARTS_MAX + 1)),
        form(long % (b"a" * room)),
        form(long % (b"a" * (room + 1))),
        b"--b-1\r\n" + b"a" * 20_000,
    ):
        assert parsed(body, chunk=4_096) == parsed(body) == by_falcon(body)


def test_part_has_a_maximum_size_and_is_refused_before_it_has_arrived() -> None:
    part = b'Content-Disposition: form-data; name="a"\r\n\r\n'
    parser = MultipartParser(TYPE, parts_max=PARTS_MAX, part_max=100)

    assert parsed(form(part + b"1" * 100), part_max=100) == [("a", None, b"1" * 100)]
    with pytest.raises(BodyTooLarge):
        parsed(form(part + b"1" * 101), part_max=100)
    with pytest.raises(BodyTooLarge):
        parser.feed(b"--b-1\r\n" + part + b"1" * 200)


def test_names_that_are_not_utf_8_are_refused() -> None:
    for name in (b'"\xff"', b"\xff", b'"a"; filename="\xff"'):
        assert parsed(form(b"Content-Disposition: form-data; name=%b\r\n\r\n1" % name)) is None


def test_form_of_many_parts_is_refused_without_a_copy_of_each() -> None:
    body = b"--b-1" + b"\r\n--b-1" * 100_000 + b"--\r\n"
    parser = MultipartParser(TYPE, parts_max=PARTS_MAX, part_max=1 << 20)

    tracemalloc.start()
    try:
        with pytest.raises(Refused):
            parser.feed(body)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert most < 4 * len(body), "an object for each part takes 6 times as much"
