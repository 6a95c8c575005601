"""Personal data: which columns may hold it, and how a value is shown without telling it."""

import re
from collections.abc import Callable

import pandas as pd

LOOKED_AT = 1000  # values of a column, by seed
MANY, SOME = 0.5, 0.01  # share of those from which on a column is named: of a kind that chance gives, or of any other
FEW = 10  # distinct values up to which a column is of none by its name: has_phone
KEPT = 2  # characters of a personal value that are shown
NAMED = re.compile(  # words of a column's name
    r"(first|last|full|given|family)_?names?|surnames?|e_?mails?|(tele|mobile_?|cell_?)?phones?|iban|ssn|passports?"
    r"|birth_?(day|date)|date_?of_?birth|dob|(street|home|postal)_?address|credit_?cards?"
)


def is_iban(text: str) -> bool:
    """Return whether the check digits of an account number are right."""
    plain = re.sub(r"\s", "", text).upper()
    return int("".join(str(int(each, 36)) for each in plain[4:] + plain[:4])) % 97 == 1


def is_card(text: str) -> bool:
    """Return whether the check digit of a payment card's number is right."""
    digits = [int(each) for each in reversed(text) if each.isdigit()]
    doubled = [sum(divmod(2 * each, 10)) for each in digits[1::2]]
    return (sum(digits[::2]) + sum(doubled)) % 10 == 0


KINDS: dict[str, tuple[re.Pattern, Callable[[str], bool] | None, float]] = {  # pattern, checksum, share
    "e-mail addresses": (re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+"), None, SOME),
    "bank accounts (IBAN)": (re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b"), is_iban, SOME),
    "payment cards": (re.compile(r"(?<![\w.])[3-6]\d{3}([ -]?)\d{4}\1\d{4}\1\d{2,4}(?![\w.])"), is_card, MANY),
    "phone numbers": (
        re.compile(r"(?<![\w.])\+[1-9]\d{0,2}[ ()/.-]{0,2}\d(?:[ ()/.-]{0,2}\d){6,11}(?!\w)|\(\d{3}\) ?\d{3}-\d{4}"),
        None,
        MANY,
    ),
}


def suspected(rows: pd.DataFrame) -> dict[str, str]:
    """Return by column what it may hold: told by some of its values, or by its name."""
    found, part = {}, rows.sample(min(LOOKED_AT, len(rows)), random_state=0)
    for name in rows:
        values = part[name].dropna()
        texts = [each for each in values if isinstance(each, str)]
        kinds = [kind for kind, (_, _, share) in KINDS.items() if _share(texts, kind) >= share]
        if (word := named(str(name))) and values.nunique() > FEW:
            kinds.append(f"{word}, by its name")
        found |= {str(name): kind for kind in kinds[:1]}
    return found


def named(column: str) -> str:
    """Return the word of a column's name that tells of personal data, an empty text if there is none."""
    plain = re.sub(r"(?<=[a-z])(?=[A-Z])|\W", "_", column).lower()
    match = re.search(rf"(?:^|_)({NAMED.pattern})$", plain)
    return match[1].replace("_", " ") if match else ""


def masked(value: object, column: str = "") -> object:
    """Return a value as it may be shown: what looks personal in a text, or all of a personal column, cut short."""
    if not isinstance(value, str):
        return "***" if column and named(column) else value
    if column and named(column):
        return _cut(value)
    for pattern, holds, _ in KINDS.values():
        value = pattern.sub(
            lambda match, holds=holds: _cut(match[0]) if not holds or holds(match[0]) else match[0], value
        )
    return value


def _cut(text: str) -> str:
    return f"{text[:KEPT]}***"


def _share(texts: list[str], kind: str) -> float:
    """Return the share of texts in which something of this kind is."""
    pattern, holds, _ = KINDS[kind]
    matches = ((pattern.finditer(text)) for text in texts)
    return sum(any(not holds or holds(match[0]) for match in each) for each in matches) / max(len(texts), 1)
