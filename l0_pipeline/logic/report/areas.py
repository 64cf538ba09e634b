"""The 51 areas of the survey: FIPS code, postal code, name, and a tile on a grid map.

Rows count from the north, columns from the west; neighbours lie near each other.
"""

from typing import NamedTuple

NATION = "US"


class Area(NamedTuple):
    """A state or the District of Columbia, and where its tile lies."""

    fips: int
    postal: str
    name: str
    row: int
    column: int


AREAS: tuple[Area, ...] = (
    Area(1, "AL", "Alabama", 6, 7),
    Area(2, "AK", "Alaska", 0, 0),
    Area(4, "AZ", "Arizona", 5, 2),
    Area(5, "AR", "Arkansas", 5, 5),
    Area(6, "CA", "California", 4, 1),
    Area(8, "CO", "Colorado", 4, 3),
    Area(9, "CT", "Connecticut", 3, 10),
    Area(10, "DE", "Delaware", 4, 10),
    Area(11, "DC", "District of Columbia", 5, 9),
    Area(12, "FL", "Florida", 7, 9),
    Area(13, "GA", "Georgia", 6, 8),
    Area(15, "HI", "Hawaii", 7, 0),
    Area(16, "ID", "Idaho", 2, 2),
    Area(17, "IL", "Illinois", 2, 6),
    Area(18, "IN", "Indiana", 3, 6),
    Area(19, "IA", "Iowa", 3, 5),
    Area(20, "KS", "Kansas", 5, 4),
    Area(21, "KY", "Kentucky", 4, 6),
    Area(22, "LA", "Louisiana", 6, 5),
    Area(23, "ME", "Maine", 0, 11),
    Area(24, "MD", "Maryland", 4, 9),
    Area(25, "MA", "Massachusetts", 2, 11),
    Area(26, "MI", "Michigan", 2, 8),
    Area(27, "MN", "Minnesota", 2, 5),
    Area(28, "MS", "Mississippi", 6, 6),
    Area(29, "MO", "Missouri", 4, 5),
    Area(30, "MT", "Montana", 2, 3),
    Area(31, "NE", "Nebraska", 4, 4),
    Area(32, "NV", "Nevada", 3, 2),
    Area(33, "NH", "New Hampshire", 1, 11),
    Area(34, "NJ", "New Jersey", 3, 9),
    Area(35, "NM", "New Mexico", 5, 3),
    Area(36, "NY", "New York", 2, 9),
    Area(37, "NC", "North Carolina", 5, 7),
    Area(38, "ND", "North Dakota", 2, 4),
    Area(39, "OH", "Ohio", 3, 7),
    Area(40, "OK", "Oklahoma", 6, 4),
    Area(41, "OR", "Oregon", 3, 1),
    Area(42, "PA", "Pennsylvania", 3, 8),
    Area(44, "RI", "Rhode Island", 2, 10),
    Area(45, "SC", "South Carolina", 5, 8),
    Area(46, "SD", "South Dakota", 3, 4),
    Area(47, "TN", "Tennessee", 5, 6),
    Area(48, "TX", "Texas", 7, 4),
    Area(49, "UT", "Utah", 4, 2),
    Area(50, "VT", "Vermont", 1, 10),
    Area(51, "VA", "Virginia", 4, 8),
    Area(53, "WA", "Washington", 2, 1),
    Area(54, "WV", "West Virginia", 4, 7),
    Area(55, "WI", "Wisconsin", 2, 7),
    Area(56, "WY", "Wyoming", 3, 3),
)

POSTAL: dict[int, str] = {area.fips: area.postal for area in AREAS}
NAMES: dict[int, str] = {area.fips: area.name for area in AREAS}


def area_name(code: object) -> str:
    """The name of a FIPS code or of the nation; any other code as it is."""
    text = str(code)
    if text == NATION:
        return "United States"
    return NAMES.get(int(text), text) if text.isdecimal() else text
