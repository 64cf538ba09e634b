"""Laws of the filter grammar: what it reads, what it writes back, and what it refuses."""

import pytest

from l0_pipeline.logic.errors import InputError
from l0_pipeline.logic.filters import Clause, format_filters, parse_filters

WHERE = "figures.csv, line 7"


def test_an_empty_text_is_no_filter():
    assert parse_filters("", where=WHERE) == ()
    assert format_filters(()) == ""


def test_a_range_and_a_word_become_three_clauses():
    assert parse_filters("agi >= 1 & agi < 5000 & filing_status == single", where=WHERE) == (
        Clause("agi", ">=", "1"),
        Clause("agi", "<", "5000"),
        Clause("filing_status", "==", "single"),
    )


@pytest.mark.parametrize(
    "text",
    [
        "agi < 1",
        "agi >= -5000 & agi < 0",
        "agi >= 0.5",
        "age == 0",
        "age >= 85",
        "agi >= 1000 & agi < 2000 & eitc_children == 3+",
        "agi < 1 & age >= 18 & age < 65 & filing_status == head_of_household & eitc_children == 0",
    ],
)
def test_reading_and_writing_gives_the_same_text(text: str):
    assert format_filters(parse_filters(text, where=WHERE)) == text


def test_equal_filters_are_equal_whatever_the_order_of_their_clauses():
    forwards = parse_filters("agi >= 1 & agi < 5 & filing_status == single", where=WHERE)
    backwards = parse_filters("filing_status == single & agi < 5 & agi >= 1", where=WHERE)
    assert forwards == backwards


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("income >= 5", "unknown filter column 'income'.*agi, age, filing_status, eitc_children"),
        ("agi > 5", "unknown operator '>' for agi; allowed: ==, >=, <"),
        ("filing_status >= single", "unknown operator '>=' for filing_status; allowed: =="),
        ("filing_status == widow", "unknown value 'widow'.*single, married_joint"),
        ("eitc_children == 3", r"unknown value '3'.*3\+"),
        ("agi >= 5,000", "'5,000'.*plain number"),
        ("agi >= 5000.0", "plain number"),
        ("agi >= 007", "plain number"),
        ("agi >= -0", "plain number"),
        ("agi >= 1e3", "plain number"),
        ("agi >= nan", "plain number"),
        ("agi >= ٣", "plain number"),
        ("age >= -1", "an age cannot be negative"),
        ("agi >= 5 & agi < 5", "empty range"),
        ("agi >= 6 & agi < 5", "empty range"),
        ("age == 5 & age < 9", "mixes == with a bound"),
        ("agi >= 1 & agi >= 2", "duplicate clause, agi >= is stated twice"),
        ("filing_status == single & filing_status == single", "duplicate clause"),
        ("agi>=1", "not one clause 'column operator value'"),
        ("agi >=  1", "not one clause"),
        ("agi >= 1&agi < 5", "not one clause"),
        ("agi >= 1 &", "not one clause"),
        (" ", "not one clause"),
        ("agi >= 1 or agi < 5", "not one clause"),
        ("agi >= __import__('os')", "plain number"),
    ],
)
def test_a_text_outside_the_grammar_is_refused_with_its_place(text: str, said: str):
    with pytest.raises(InputError, match=said) as refused:
        parse_filters(text, where=WHERE)
    assert str(refused.value).startswith(f"{WHERE}: ")
