"""publication.toml: what is taken, and what each fault is called."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from publish_help import PUBLICATION, publication, refusal

from gpgen.description.identifiers import check_orcid
from gpgen.description.licences import licence_name
from gpgen.description.publication import Publication, Related
from gpgen.errors import UsageError


def test_everything_is_taken_in_its_plain_form():
    read = Publication.from_toml(
        PUBLICATION.replace("CC-BY-4.0", "cc-by-4.0")
        + """
        [[creators]]
        name = "The gpgen authors"
        organization = true
        [[funding]]
        funder = "A Council"
        award = "42"
        [[related]]
        identifier = "https://doi.org/10.1234/abc"
        relation = "IsSupplementTo"
        """
    )
    assert read.license == "CC-BY-4.0"
    assert read.date == datetime.date(2026, 1, 31)
    assert (read.creators[0].family, read.creators[0].given) == ("Carberry", "Josiah")
    assert read.related[0].value == "10.1234/abc"
    assert read.related[0].scheme == "doi"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("title", "titel"), "unknown key 'titel'; did you mean 'title'?"),
        (('title = "Small textures & more"', ""), "no title"),
        (("[[creators]]", "[[authors]]"), "unknown key 'authors'"),
        (("CC-BY-4.0", "CC-BY"), "did you mean CC-BY-4.0?"),
        (("CC-BY-4.0", "CC-BY-5.0"), "is not an SPDX name"),
        (("CC-BY-4.0", "MIT OR Apache-2.0"), "not one licence"),
        (("CC-BY-4.0", "(MIT)"), "not one licence"),
        (("CC-BY-4.0", "MIT+"), "not one licence"),
        (("Small textures & more", "AB"), "too short"),
        (("[[creators]]", 'version = "v1"\n[[creators]]'), "MAJOR.MINOR.PATCH"),
        (("[[creators]]", 'keywords = [""]\n[[creators]]'), "keyword '' is empty"),
        (("[[creators]]", 'doi = "10.1234/a<b"\n[[creators]]'), "is not a DOI"),
        (
            ("[[creators]]", '[[related]]\nidentifier = "arXiv:no"\n[[creators]]'),
            "is not a DOI, arX",
        ),
        (("[[creators]]", '[[funding]]\nfunder = "F"\nurl = "x"\n[[creators]]'), "not an address"),
        (("[[creators]]", '[[creators]]\nname = "Carberry, Josiah"\n[[creators]]'), "twice"),
        (("[[creators]]", 'communities = ["A B"]\n[[creators]]'), "community 'A B'"),
        (("[[creators]]", "embargo = { until = 2020-01-01 }\n[[creators]]"), "the embargo ends"),
        (("0097", "0098"), "its check digit is wrong"),
        (("0000-0002-1825-0097", "1825"), "is not an ORCID"),
        (("Carberry, Josiah", "Josiah Carberry"), 'name = "Carberry, Josiah"'),
        (("date = 2026-01-31", "date = 2026"), "date"),
        (("[[creators]]", 'doi = "zenodo.1"\n[[creators]]'), "is not a DOI"),
        (("[[creators]]", '[[related]]\nidentifier = "a book"\n[[creators]]'), "is not a DOI, arX"),
        (
            ("[[creators]]", '[[related]]\nidentifier = "10.1/x"\nrelation = "Cite"\n[[creators]]'),
            "did you mean 'Cites'?",
        ),
        (("=", "= ="), "not valid TOML"),
        (("affiliation", "afiliation"), "creators 1: unknown key 'afiliation'"),
    ],
)
def test_each_fault_is_named_in_one_line(change, message):
    assert message in refusal(UsageError, Publication.from_toml, PUBLICATION.replace(*change, 1))


def test_no_creators_is_said():
    text = PUBLICATION.partition("[[creators]]")[0]
    assert "no creators" in refusal(UsageError, Publication.from_toml, text)
    assert "no creators" in refusal(UsageError, Publication.from_toml, "creators = []\n" + text)


def test_a_file_that_is_not_there_is_said(tmp_path):
    assert "No such file" in refusal(UsageError, Publication.load, tmp_path / "publication.toml")


@given(st.integers(15_000_000, 34_999_999))  # the block that ORCID has from ISNI
def test_the_orcid_check_digit_is_that_of_iso_7064(number):
    digits = f"{number:015d}"
    # The standard's definition: the sum of digit i times 2^(15-i), with the check digit, is 1 mod
    # 11.
    weighted = sum(int(digit) * pow(2, 15 - i, 11) for i, digit in enumerate(digits))
    right = next(c for c in range(11) if (weighted + c) % 11 == 1)
    text = digits + "0123456789X"[right]
    assert check_orcid(f"https://orcid.org/{text[:4]}-{text[4:8]}-{text[8:12]}-{text[12:]}") == (
        f"{text[:4]}-{text[4:8]}-{text[8:12]}-{text[12:]}"
    )
    wrong = digits + "0123456789X"[(right + 1) % 11]
    with pytest.raises(UsageError):
        check_orcid(wrong)


@given(st.text(max_size=40))
def test_no_licence_name_crashes(text):
    try:
        name = licence_name(text)
    except UsageError:
        return
    assert name.lower() == text.lower().strip()


def test_the_day_comes_from_source_date_epoch(monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    text = PUBLICATION.replace("date = 2026-01-31", "")
    assert Publication.from_toml(text).date == datetime.date(2023, 11, 14)


def test_an_arxiv_number_is_known():
    related = Related("arXiv:1806.01337")
    assert (related.scheme, related.url) == ("arxiv", "https://arxiv.org/abs/1806.01337")
    assert publication().related == ()
