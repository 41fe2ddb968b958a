import contextlib
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.tracking import timestamps
from app.tracking.timestamps import parse_timestamp

LATEST = datetime.max.replace(tzinfo=UTC)
offsets = st.integers(-23 * 60 - 59, 23 * 60 + 59).map(lambda m: timezone(timedelta(minutes=m)))


@given(st.datetimes(timezones=offsets))
def test_a_time_with_an_offset_is_that_instant(moment):
    try:
        wanted = moment.astimezone(UTC)
    except OverflowError:
        with pytest.raises(ValueError, match="years 1 to 9999"):
            parse_timestamp(moment.isoformat())
    else:
        assert parse_timestamp(moment.isoformat()) == wanted


@given(st.datetimes())
def test_a_time_without_an_offset_is_utc(moment):
    assert parse_timestamp(moment.isoformat()) == moment.replace(tzinfo=UTC)


@given(st.text(max_size=40))
def test_any_text_is_a_time_or_a_value_error(text):
    with contextlib.suppress(ValueError):
        assert parse_timestamp(text).tzinfo is UTC


@given(
    st.sampled_from(["2024-01-15T10:30:00.123Z", "2024-01-15T10:30:00Z", "2024-W03-1T10:30:00Z"]),
    st.lists(
        st.tuples(st.integers(0, 23), st.sampled_from("0129-:.,TZW+ \u0663\ud800")), max_size=3
    ),
)
def test_what_browsers_send_is_read_as_any_other_form(text, changes):
    for place, character in changes:
        text = text[:place] + character + text[place + 1 :]
    outcomes = []
    for is_plain in (timestamps._is_plain, lambda _: False):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(timestamps, "_is_plain", is_plain)
            try:
                outcomes.append(parse_timestamp(text))
            except ValueError as error:
                outcomes.append(str(error))
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize("digits", range(10))
def test_a_fraction_is_cut_to_microseconds(digits):
    moment = parse_timestamp(f"2024-01-15T10:30:00.{'123456789'[:digits]}Z")
    assert moment.microsecond == int("123456"[:digits].ljust(6, "0"))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("2024-01-15T10:30:00Z", datetime(2024, 1, 15, 10, 30, tzinfo=UTC)),
        ("2024-01-15t10:30:00z", datetime(2024, 1, 15, 10, 30, tzinfo=UTC)),
        ("2024-01-15 10:30:00+0200", datetime(2024, 1, 15, 8, 30, tzinfo=UTC)),
        ("2024-01-15T10:30-05", datetime(2024, 1, 15, 15, 30, tzinfo=UTC)),
        ("2024-12-31T24:00:00Z", datetime(2025, 1, 1, tzinfo=UTC)),
        ("2016-12-31T23:59:60Z", datetime(2017, 1, 1, tzinfo=UTC)),
        ("0000-12-31T23:30:00-01:00", datetime(1, 1, 1, 0, 30, tzinfo=UTC)),
        ("0001-01-01T00:00:00Z", datetime(1, 1, 1, tzinfo=UTC)),
        ("9999-12-31T23:59:59.999999999Z", LATEST),
    ],
)
def test_the_forms_of_iso_8601_that_clients_send(text, wanted):
    assert parse_timestamp(text) == wanted


@pytest.mark.parametrize(
    "text",
    [
        "", "2024-01-15", "2024-W03-1T10:30:00Z", "20240115T103000Z", "2024-015T10:30:00Z",
        "2024-13-15T10:30:00Z", "2024-02-30T10:30:00Z", "2024-01-15T25:00:00Z",
        "2024-01-15T24:00:01Z", "2024-01-15T24:00:00.1Z", "2024-01-15T24:30:00Z",
        "2024-01-15T10:60:00Z", "2024-01-15T10:30:61Z", "2024-01-15T10:30:00.1234567890Z",
        "2024-01-15T10:30:00+24:00", "2024-01-15T10:30:00+01:60", "2024-01-15T10:30:00 Z",
        "2024-01-15T10:30:00Z\n", "٢٠٢٤-01-15T10:30:00Z", "-2024-01-15T10:30:00Z",
        "12024-01-15T10:30:00Z", "0001-01-01T00:00:00+00:01", "9999-12-31T23:59:59-00:01",
        "0000-06-01T00:00:00Z", "1705314600",
    ],
)  # fmt: skip
def test_anything_else_is_refused(text):
    with pytest.raises(ValueError, match=r"\w"):
        parse_timestamp(text)
