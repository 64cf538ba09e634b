"""Laws of the report: whole, alone, readable at any width, and true to its tables."""

import hashlib
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from html.parser import HTMLParser
from pathlib import Path

import polars as pl
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from l0_pipeline.logic.errors import InputError
from l0_pipeline.logic.report import words
from l0_pipeline.logic.report.given import OPTIONAL, REQUIRED, checked
from l0_pipeline.logic.report.heading import heading_of
from l0_pipeline.logic.report.page import report_html
from l0_pipeline.logic.report.sections import accounting, concentration, overview
from l0_pipeline.settings import PROJECT_DIR
from tests.l0_pipeline import report_tables as given

# its reports are made once, by one worker
pytestmark = pytest.mark.xdist_group("report")

CHROMIUM_FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-component-update"]
WIDTHS = (1280, 390)
ANCHORS = [
    "overview", "reforms", "training", "estimates", "cumulative", "targets", "weights",
    "concentration", "states", "families", "untargeted", "accounting", "frontier", "comparison",
    "carriers", "making",
]  # fmt: skip
LARGEST = 5_000_000
HOSTILE = "<script>alert('$1 & $2')</script>"


class Seen(HTMLParser):
    """What a reader of the page meets, in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.headings: list[int] = []
        self.sections: list[str] = []
        self.figures: list[dict[str, list[str]]] = []
        self.table_captions = 0
        self.tables = 0
        self.tags: set[str] = set()
        self._in_caption = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = dict(attrs)
        self.tags.add(tag)
        if re.fullmatch(r"h[1-6]", tag):
            self.headings.append(int(tag[1]))
        elif tag == "section":
            self.sections.append(known["id"] or "")
        elif tag == "figure":
            self.figures.append({"alt": [], "caption": []})
        elif tag == "img":
            self.figures[-1]["alt"].append(known.get("alt") or "")
        elif tag == "table":
            self.tables += 1
        elif tag == "caption":
            self.table_captions += 1
        self._in_caption = self._in_caption or tag == "figcaption"

    def handle_endtag(self, tag: str) -> None:
        self._in_caption = self._in_caption and tag != "figcaption"

    def handle_data(self, data: str) -> None:
        if self._in_caption:
            self.figures[-1]["caption"].append(data)


def _text(html: str, anchor: str) -> str:
    """The words of one section."""
    section = html.split(f'<section id="{anchor}"')[1].split("</section>")[0]
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", section))


@pytest.fixture(scope="module")
def full() -> str:
    """The report of a release that has every table, some with hostile text."""
    tables = given.required() | given.optional() | given.compared()
    own = pl.col("family").replace("wages, nation", HOSTILE)
    for name in ("target_fit", "target_accounting"):
        tables[name] = tables[name].with_columns(own)
    tables["target_fit"] = tables["target_fit"].with_columns(
        publisher=pl.lit(HOSTILE), condition=pl.col("condition") + HOSTILE
    )
    tables["target_accounting"] = tables["target_accounting"].with_columns(reason=pl.lit(HOSTILE))
    tables["reform_study"] = tables["reform_study"].with_columns(description=pl.lit(HOSTILE))
    tables["reform_groups"] = tables["reform_groups"].with_columns(reform=pl.lit(HOSTILE))
    tables["untargeted"] = tables["untargeted"].with_columns(category=pl.lit(HOSTILE))
    known = given.heading(compared_with="2022-ba9876543210", address=HOSTILE)
    return report_html(tables, known)


@pytest.fixture(scope="module")
def bare() -> str:
    """The report of the first release of its year, without optional tables and held-out targets."""
    return report_html(given.nothing_held_out(), given.heading())


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    found = shutil.which("chromium")
    assert found, "the report is opened in chromium: run `make browser`"
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=found, args=CHROMIUM_FLAGS)
        yield opened
        opened.close()


@pytest.mark.parametrize("width", WIDTHS)
def test_the_report_opens_offline_alone_and_no_wider_than_the_page(
    full: str, browser: Browser, tmp_path: Path, width: int
):
    file = tmp_path / "report.html"
    file.write_text(full, encoding="utf-8")
    context = browser.new_context(viewport={"width": width, "height": 900}, offline=True)
    page: Page = context.new_page()
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(file.as_uri(), wait_until="load")
    assert said == []
    assert [address for address in asked if not address.startswith("data:")] == [file.as_uri()]
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("document.images.length") > 20
    assert page.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 100)")
    assert page.evaluate("[...document.images].every(i => i.getBoundingClientRect().width > 250)")
    shown = page.evaluate("[...document.querySelectorAll('section')].map(s => s.id)")
    assert shown == ANCHORS
    context.close()


def test_the_report_asks_for_nothing_and_runs_nothing(full: str):
    assert not re.findall(r'(?:src|href)="(?!data:|#)[^"]*"', full)
    assert "@import" not in full
    assert "url(" not in full
    assert Seen(full).tags.isdisjoint({"script", "iframe", "object", "embed", "form"})
    assert len(full.encode()) < LARGEST


def test_every_figure_says_what_is_seen_and_where_it_comes_from(full: str):
    figures = Seen(full).figures
    assert len(figures) >= 18
    for figure in figures:
        caption = " ".join("".join(figure["caption"]).split())
        assert figure["alt"]
        for alt in figure["alt"]:
            assert len(alt) > 40
            assert re.search(r"\d", alt)
        assert "of release 2022-0123456789ab, seed 7, 2026-11-24." in caption
        assert any(f"From {table}" in caption for table in (*REQUIRED, *OPTIONAL))


def test_headings_nest_and_every_table_has_a_caption(full: str):
    seen = Seen(full)
    assert seen.headings[0] == 1
    assert seen.headings.count(1) == 1
    assert all(b - a <= 1 for a, b in zip(seen.headings, seen.headings[1:], strict=False))
    assert seen.tables == seen.table_captions > 15
    assert '<html lang="en">' in full
    assert seen.sections == ANCHORS


def test_the_same_release_gives_the_same_bytes_in_another_process(bare: str):
    code = (
        "import hashlib; from tests.l0_pipeline import report_tables as given;"
        "from l0_pipeline.logic.report.page import report_html;"
        "text = report_html(given.nothing_held_out(), given.heading());"
        "print(hashlib.sha256(text.encode()).hexdigest())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT_DIR, capture_output=True, text=True, check=True,
        env={"PYTHONHASHSEED": "5", "POLARS_MAX_THREADS": "1", "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert done.stdout.strip() == hashlib.sha256(bare.encode()).hexdigest()


def test_text_of_tables_and_heading_is_shown_and_never_run(full: str):
    assert "<script" not in full
    for anchor in ("reforms", "targets", "families", "untargeted", "accounting"):
        section = full.split(f'<section id="{anchor}"')[1].split("</section>")[0]
        assert "&lt;script&gt;" in section, anchor
    assert 'alt="<' not in full


@pytest.mark.parametrize("name", REQUIRED)
def test_a_missing_required_table_is_refused_by_name(name: str):
    tables = {key: table for key, table in given.required().items() if key != name}
    with pytest.raises(InputError, match=rf"1 tables .*: {name}\. Build"):
        report_html(tables, given.heading())


def test_an_empty_required_table_and_a_missing_column_are_refused():
    tables = given.required()
    with pytest.raises(InputError, match="households has no rows"):
        report_html(tables | {"households": tables["households"].clear()}, given.heading())
    without = tables["tax_outputs"].drop("c00100")
    with pytest.raises(InputError, match="'tax_outputs' has no column c00100"):
        report_html(tables | {"tax_outputs": without}, given.heading())


@pytest.mark.parametrize(
    ("anchor", "table"),
    [
        ("reforms", "reform_study"),
        ("untargeted", "untargeted"),
        ("frontier", "size_frontier"),
        ("carriers", "household_reasons"),
        ("accounting", "target_standard_errors"),
    ],
)
def test_a_missing_table_leaves_a_sentence_that_says_what_to_do(bare: str, anchor: str, table: str):
    said = _text(bare, anchor)
    assert f"without the table {table}" in said
    assert f"--select {table} --partition 2022" in said


def test_the_first_release_of_a_year_has_nothing_to_be_compared_with(bare: str, full: str):
    assert "no earlier release of 2022" in _text(bare, "comparison")
    assert "2022-ba9876543210" in _text(full, "comparison")
    assert Seen(bare).sections == ANCHORS


def test_an_empty_optional_table_counts_as_missing_and_other_tables_are_passed_over():
    tables = given.required()
    emptied = {name: table.clear() for name, table in given.optional().items()}
    assert list(checked(tables | emptied | {"another": pl.DataFrame()})) == list(tables)


def test_a_release_without_held_out_targets_has_a_whole_report(bare: str):
    assert Seen(bare).sections == ANCHORS
    assert "Held-out targets, four rising lines" not in bare


def test_a_number_beyond_its_limit_says_so():
    cards = {card.label: card for card in _cards(given.heading())}
    assert len(cards) == 10
    assert cards["Median held-out error"].reached is False
    assert cards["Median held-out error"].good == "at most 10 %"
    assert cards["Median fitted error"].reached is True
    assert cards["Effective sample size"].good == "at least 150"
    assert cards["Published figures"].reached is True
    unlimited = _cards(given.heading(settings={}))
    assert [card.reached for card in unlimited if card.label != "Published figures"] == [None] * 9


def _cards(heading: object) -> tuple[overview.Card, ...]:
    (cards,) = (
        block
        for block in overview.section(given.required(), heading).blocks  # type: ignore[arg-type]
        if block.kind == "cards"
    )
    return cards.cards  # type: ignore[union-attr]


def test_numbers_in_words_are_those_of_the_tables(full: str):
    fit = given.required()["target_fit"]
    median = fit.filter(role="held_out")["released_error"].abs().median()
    assert f"released: median {words.percent(median)}" in full
    worst = fit.sort(pl.col("released_error").abs(), descending=True).row(0, named=True)
    assert words.signed_percent(worst["released_error"]) in _text(full, "targets")
    assert "(31 % of it)" in _text(full, "carriers")
    assert "A calculation takes 7.71 times as long" in _text(full, "reforms")


def test_shares_of_groups_add_up_and_no_group_is_more_effective_than_it_is_large():
    tables = given.required()
    classes = concentration.income_classes(tables["households"], tables["tax_outputs"])
    table = concentration.spread(classes)
    assert table["households"].sum() == given.KEPT
    assert table["share_weight"].sum() == pytest.approx(1)
    assert table["share_households"].sum() == pytest.approx(1)
    assert (table["effective_sample_size"] <= table["households"] + 1e-9).all()


def test_who_carries_an_amount_is_told_for_the_nation_and_for_the_state_where_it_is_most():
    households = pl.DataFrame(
        {"household_id": [1, 2, 3, 4], "state_fips": [6, 6, 48, 48], "weight": [1.0, 2.0, 1.0, 1.0]}
    )
    outputs = pl.DataFrame(
        {
            "household_id": [1, 2, 2, 3, 4],
            "c00100": [10.0, 10.0, 20.0, -40.0, 0.0],  # 10, 60, 40 and 0 as they weigh
            "iitax": [0.0] * 5,
        }
    )
    (row,) = concentration.carried(households, outputs).to_dicts()
    assert row == {
        "amount": "Adjusted gross income", "largest": pytest.approx(60 / 110),
        "ten_largest": pytest.approx(1.0), "half": 1, "largest_in_state": pytest.approx(1.0),
        "state": 48,
    }  # fmt: skip


def test_a_household_on_the_bound_of_a_class_belongs_to_the_class_above():
    households = pl.DataFrame({"household_id": [1, 2, 3, 4], "weight": [1.0] * 4})
    outputs = pl.DataFrame(
        {"household_id": [1, 2, 2, 3, 4], "c00100": [-1.0, 4_000.0, 6_000.0, 1e6, 0.0]}
    )
    groups = concentration.income_classes(households, outputs)["group"].to_list()
    assert groups == [
        "below 0", "10,000 to under 25,000", "1 million or more", "0 to under 10,000",
    ]  # fmt: skip


def test_reasons_add_up_to_the_figures_and_those_that_differ_by_a_number_are_one():
    table = given.required()["target_accounting"]
    counted = accounting.reasons(table)
    assert counted["figures"].sum() == len(table)
    assert counted.filter(role="rejected")["figures"].to_list() == [60]
    assert counted.filter(role="benchmark")["reason"].to_list() == [
        "printed twice: another figure is fitted in its place"
    ]


@pytest.mark.parametrize(
    ("clauses", "said"),
    [
        ("agi >= 1 & agi < 10000", "AGI 1 to under 10,000"),
        ("agi < 1 & eitc_children == 3+", "AGI under 1, eitc children 3+"),
        ("age >= 65", "age 65 or more"),
        ("filing_status == married_joint", "filing status married joint"),
    ],
)
def test_conditions_are_said_in_words(clauses: str, said: str):
    assert words.conditions(clauses) == said


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        (words.dollars(-1.5e12), "-$1.50 trillion"),
        (words.signed_dollars(2.25e9), "+$2.25 billion"),
        (words.dollars(999), "$999"),
        (words.percent(0.12345), "12.35 %"),
        (words.signed_percent(25.5), "+2,550 %"),
        (words.signed_percent(-0.0004), "0.0 %"),
        (words.signed_percent(-0.004), "-0.4 %"),
        (words.percent(None), words.DASH),
        (words.percent(float("nan")), words.DASH),
        (words.limit_percent(0.05), "5 %"),
        (words.count(12_345.4), "12,345"),
        (words.quantity(1710.0, "returns"), "1,710 returns"),
        (words.target("wages", "US", ""), "wages, United States"),
        (words.target("wages", "06", "age >= 65"), "wages, California, age 65 or more"),
        (words.target("wages", "OA", None), "wages, OA"),
        (words.target("wages", "OA", None, "dollars"), "wages, OA"),
        (words.target("wages", "OA", None, "returns"), "number with wages, OA"),
        (words.target("returns", "OA", None, "returns"), "returns, OA"),
    ],
)
def test_numbers_are_said_in_words(said: str, wanted: str):
    assert said == wanted


def test_a_heading_says_what_the_manifest_says():
    known = given.heading()
    manifest: Mapping[str, object] = {
        "title": known.title, "year": 2022, "seed": 7, "created_at": "2026-11-24T02:17:00Z",
        "quality": known.quality, "settings": known.settings,
        "licence": known.licence.model_dump(), "packages": known.packages,
        "code_version": known.code_version, "source": {"name": "taxcalc", "files": {"a": "0"}},
        "figures": {"name": "data/figures/2022", "files": {"b": "1"}},
    }  # fmt: skip
    made = heading_of(manifest, release_id=known.release_id, address="here")
    assert made.created_at == known.created_at
    assert made.compared_with is None
    assert made.licence == known.licence
    assert made.inputs == {"taxcalc": {"a": "0"}, "data/figures/2022": {"b": "1"}}
