"""The page in the merchant's language."""

import re
from datetime import UTC, date, datetime
from html.parser import HTMLParser
from pathlib import Path

import pytest
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po
from babel.numbers import format_decimal
from jinja2 import Environment, nodes

from app.counts.period import find_shop
from app.merchant.language import ENGLISH, LANGUAGES, LOCALES, choose
from tests.calls import SHOP
from tests.counts.histories import count_all, store, today, visit
from tests.merchant.conftest import text_of, token

ROOM = LOCALES.parent
TEMPLATES = sorted(ROOM.glob("templates/*.html"))
OTHERS = [language for language in LANGUAGES if language != "en"]
PLACEHOLDER = re.compile(r"%\((\w+)\)s")


@pytest.fixture(scope="module")
def texts():
    """All in the code: one, or one and its plural."""
    methods = [("**.py", "python"), ("**/templates/**.html", "jinja2")]
    return {text for _, _, text, *_ in extract_from_dir(str(ROOM), method_map=methods)}


def catalogue(language):
    with (LOCALES / language / "LC_MESSAGES" / "merchant.po").open("rb") as file:
        return read_po(file, locale=language, abort_invalid=True)


@pytest.mark.parametrize("language", OTHERS)
def test_every_text_is_in_every_catalogue_and_no_other(texts, language):
    assert len(texts) > 150
    translated = {message.id: message for message in catalogue(language) if message.id}
    assert translated.keys() == texts
    for text, message in translated.items():
        assert not message.fuzzy, text
        originals, forms = as_tuple(text), as_tuple(message.string)
        wanted = {frozenset(PLACEHOLDER.findall(original)) for original in originals}
        for form in forms:
            assert form.strip(), text
            assert frozenset(PLACEHOLDER.findall(form)) in wanted, form
            if PLACEHOLDER.search(form):
                assert "%" not in PLACEHOLDER.sub("", form), form


def as_tuple(value):
    return (value,) if isinstance(value, str) else value


class Shown(HTMLParser):
    """What is read out or seen, without what is code."""

    def __init__(self, markup):
        super().__init__()
        self.texts, self.code = [], 0
        self.feed(markup)

    def handle_starttag(self, tag, attributes):
        self.code += tag in ("script", "style", "pre")
        named = ("aria-label", "title", "placeholder", "alt", "data-name", "label")
        self.texts += [value for name, value in attributes if name in named and value]

    def handle_endtag(self, tag):
        self.code -= tag in ("script", "style", "pre")

    def handle_data(self, data):
        if not self.code:
            self.texts.append(data)


def written(node):
    """What a template writes that comes from no catalogue; expressions leave a gap."""
    if isinstance(node, nodes.TemplateData):
        return node.data
    if isinstance(node, nodes.Const):
        return node.value if isinstance(node.value, str) else ""
    if isinstance(node, nodes.CondExpr):
        return written(node.expr1) + (written(node.expr2) if node.expr2 else "")
    return ""


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_no_text_of_a_template_is_outside_the_catalogues(path):
    parsed = Environment(autoescape=True).parse(path.read_text())
    markup = "".join(written(part) for output in parsed.find_all(nodes.Output)
                     for part in output.nodes)  # fmt: skip
    found = {text for text in Shown(markup).texts if re.search(r"[^\W\d_]", text)}
    assert {text.strip(" –\n") for text in found} <= {"CSV", "Genlook", "body"}


@pytest.mark.parametrize(
    ("asked", "accepted", "tag"),
    [("de", [], "de"), ("fr-CA", [], "fr-CA"), ("pt-BR", ["de"], "en"),
     ("", ["xx", "ja-JP"], "ja-JP"),
     ("", [], "en"), ("DE_at", [], "de-AT"), ("de-QQ", [], "de"), ("es-419", [], "es-419"),
     ("../de", [], "en"), ("en-GB", ["fr"], "en-GB"), ("de" * 500, [], "en"), ("", ["*"], "en")],
)  # fmt: skip
def test_a_language_is_shopifys_locale_or_the_browsers_or_english(asked, accepted, tag):
    assert choose(asked, accepted).tag == tag


def test_numbers_and_times_are_those_of_the_region():
    shown = {
        tag: (language.number(12_345), language.percent(0.1234), language.change(-0.5),
              language.day(date(2026, 3, 31)), language.span("2026-03-01", "2026-03-31"),
              language.time(datetime(2026, 3, 31, 14, 5, tzinfo=UTC)), language.duration(12_000),
              language.hours(168))
        for tag in ("en", "de", "fr", "es", "ja", "de-CH")
        for language in [choose(tag)]
    }  # fmt: skip
    plain = {tag: tuple(re.sub(r"\s", " ", part) for part in parts)
             for tag, parts in shown.items()}  # fmt: skip
    assert plain == {
        "en": ("12,345", "12.3%", "−50%", "Mar 31, 2026", "Mar 1 – 31, 2026", "2:05 PM",
               "3 hr 20 min", "7 days"),
        "de": ("12.345", "12,3 %", "−50 %", "31.03.2026", "1.–31. März 2026", "14:05",
               "3 Std., 20 Min.", "7 Tage"),
        "fr": ("12 345", "12,3 %", "−50 %", "31 mars 2026", "1–31 mars 2026", "14:05",
               "3 h 20 min", "7 jours"),
        "es": ("12.345", "12,3 %", "−50 %", "31 mar 2026", "1–31 mar 2026", "14:05",
               "3 h 20 min", "7 días"),
        "ja": ("12,345", "12.3%", "−50%", "2026/03/31", "2026年3月1日～31日", "14:05",
               "3 時間20 分", "7 日"),
        "de-CH": ("12'345", "12.3%", "−50%", "31.03.2026", "1.–31. März 2026", "14:05",
                  "3 Std., 20 Min.", "7 Tage"),
    }  # fmt: skip


@pytest.mark.parametrize("tag", [*LANGUAGES, "de-AT", "en-IN", "es-MX", "fr-CA"])
def test_whole_numbers_have_the_groups_of_cldr(tag):
    language = choose(tag)
    for number in (0, 7, 999, 1_000, 123_456, 1_234_567, -1, -12_345):
        cldr = format_decimal(number, format="#,##0", locale=language.locale)
        assert language.number(number) == cldr


def test_an_apostrophe_between_groups_is_no_quotation_mark():
    assert choose("de-CH").number(1_234_567) == "1'234'567"


def test_a_number_has_the_form_that_its_language_has_for_it():
    forms = ("(%(number)s batch pending)", "(%(number)s batches pending)")
    assert ENGLISH.ngettext(*forms, 1) == "(1 batch pending)"
    assert choose("fr").ngettext(*forms, 0) == "(0 lot en attente)"
    assert choose("de").ngettext(*forms, 1_000) == "(1.000 Pakete stehen aus)"
    assert choose("ja").ngettext(*forms, 1) == "（処理待ち 1 件）"


@pytest.mark.parametrize("language", OTHERS)
def test_the_page_has_no_english_left(merchant, database, texts, language):
    store(database, visit("a", 7, minutes=0), visit("b", 2))
    count_all(database)
    page = merchant("/app", locale=language)
    assert f'<html lang="{language}">' in page.text
    shown = text_of(page)
    for text in texts:
        [pattern, *_] = as_tuple(text)
        if len(pattern) > 25 and not PLACEHOLDER.search(pattern):
            assert pattern not in shown
    assert catalogue(language).get("With and without try-on").string in shown


def test_a_browsers_language_holds_where_shopify_names_none(merchant, database):
    headers = {"Authorization": f"Bearer {token()}", "Accept-Language": "nl, fr-CA;q=0.9, de;q=0.5"}
    page = merchant.client.get("/app", headers=headers)
    assert '<html lang="fr-CA">' in page.text
    page = merchant.client.get("/app", headers=headers, query_string={"locale": "ja"})
    assert '<html lang="ja">' in page.text


def test_the_language_is_kept_on_every_way_from_the_page(merchant, database):
    page = merchant("/app", locale="de", range="7").text
    links = re.findall(r'href="(/app[^"]*)"', page)
    assert len(links) > 10
    assert [link for link in links if "locale=de" not in link] == []
    assert '<input type="hidden" name="locale" value="de">' in page
    bounce = merchant.client.get("/app", query_string={"shop": SHOP, "locale": "de"})
    assert "Einen Moment" in merchant.client.get(bounce.location).text
    assert "locale%3Dde" in bounce.location


def test_what_went_wrong_is_said_in_the_merchants_language(merchant):
    days = {"from": str(today()), "to": "2020-01-01"}
    reply = merchant("/app/api/report", locale="de", **days).get_json()
    assert reply["message"] == "Der letzte Tag darf nicht vor dem ersten liegen."
    assert reply["details"] == [{"path": "to", "message": "must not be before from"}]
    saved = merchant.client.put(
        "/app/api/settings?locale=es",
        json={"time_zone": "Mars", "window_hours": 24},
        headers={"Authorization": f"Bearer {token()}"},
    )
    assert saved.get_json()["message"].startswith("No existe la zona horaria «Mars».")
    refused = merchant("/app/api/report", "no token", locale="fr").get_json()
    assert refused["message"].startswith("Rouvrez l’application")


def test_the_api_says_its_sentences_in_the_language_that_is_asked_for(merchant, database):
    store(database, visit("a", 7))
    count_all(database)
    assert find_shop(database, SHOP)
    shown = merchant("/app/api/report", locale="ja").get_json()["report"]
    assert shown["funnel"][0]["name"] == "商品ページを表示"
    shown = merchant("/app/api/report").get_json()["report"]
    assert shown["funnel"][0]["name"] == "Product page viewed"


def test_what_is_filled_into_a_text_is_escaped(merchant, database):
    store(database, visit("a", 1))
    zone = "<b>UTC"
    database.execute("INSERT INTO report_shops (shop_id, time_zone) SELECT id, 'UTC' FROM shops")
    page = merchant("/app", locale=zone, by="product", note=zone).text
    assert "<b>" not in page
    assert "&lt;b&gt;UTC" in page


def test_adding_a_language_is_one_file():
    assert [path.relative_to(LOCALES).as_posix() for path in sorted(LOCALES.rglob("*.po"))] == [
        f"{language}/LC_MESSAGES/merchant.po" for language in OTHERS
    ]
    assert not list(Path(ROOM).rglob("*.mo"))
