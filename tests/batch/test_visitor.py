"""Who counts as a visitor, the same in Python and in SQL."""

import pytest

from app.batch.news import language_of, product_of
from app.batch.visitor import VISITOR, named, visitor_of
from tests.cases import CASES

REAL = ["550e8400-e29b-41d4-a716-446655440000", "nullable", "NAN", "0", "none", '"real"', " x ",
        "null    -                           "]  # fmt: skip


@pytest.mark.parametrize("text", [*CASES["no_visitor"], None, ' "null" ', '" "', "\u00a0", "\t\n"])
def test_a_text_that_names_nobody_is_missing(text):
    assert named(text) is None


@pytest.mark.parametrize("text", REAL)
def test_any_other_text_is_the_visitor_as_it_was_sent(text):
    assert named(text) == text


def test_the_session_counts_where_the_client_id_names_nobody():
    assert visitor_of("undefined", "s") == "s"
    assert visitor_of("c", "s") == "c"
    assert visitor_of("null", "NaN") is None


@pytest.mark.slow
def test_sql_says_the_same(database):
    texts = [*CASES["no_visitor"], None, ' "null" ', '" "', "\u00a0", "\t\n", *REAL]
    pairs = [(client, session) for client in texts for session in texts]
    rows = database.execute(
        f"SELECT {VISITOR} FROM unnest(%s::text[], %s::text[]) WITH ORDINALITY"
        " AS b (client_id, session_id, number) ORDER BY number".encode(),
        [list(column) for column in zip(*pairs, strict=True)],
    )
    assert [visitor for (visitor,) in rows] == [visitor_of(*pair) for pair in pairs]


def test_a_products_own_number_and_its_global_id_are_the_same():
    assert {product_of(sent) for sent in CASES["the_same_product"]} == {"gid://shopify/Product/456"}
    assert product_of("456x") == "456x"
    assert [product_of(sent) for sent in (None, True, [], "")] == [""] * 4


@pytest.mark.parametrize("case", CASES["languages"], ids=lambda case: case["sent"])
def test_a_language_is_told_by_its_first_part(case):
    assert language_of(case["sent"]) == case["group"]
