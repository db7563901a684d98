"""How to cite a dataset, and CITATION.cff: the same works in BibTeX, APA style and CFF.

See https://github.com/citation-file-format/citation-file-format.
"""

from __future__ import annotations

import re
from typing import Any, Final

import yaml

from gpgen.errors import UsageError
from gpgen.publish.publication import Creator, Publication
from gpgen.publish.subject import Subject
from gpgen.publish.words import abstract, keywords
from gpgen.recipe_checks import nearest

__all__ = ["FORMATS", "apa", "bibtex", "cff", "cite"]

FORMATS: Final = ("bibtex", "apa", "cff")

_AUTHORS_2018: Final = (Creator("Golkar, Siavash"), Creator("Cranmer, Kyle"))

_PAPER: Final = {
    "title": "Backdrop: Stochastic Backpropagation",
    "year": "2018",
    "arxiv": "1806.01337",
}
_DATA_2018: Final = {
    "title": "Data of Backdrop: Stochastic Backpropagation",
    "year": "2018",
    "doi": "10.5281/zenodo.1252464",
}


def cite(
    publication: Publication | None,
    subject: Subject,
    form: str = "bibtex",
) -> str:
    """Return how to cite a dataset: itself, the paper, and the data of 2018 where it is the source.

    Parameters
    ----------
    publication
        What publication.toml says; without it the dataset is cited by its recipe.
    subject
        The dataset.
    form
        "bibtex", "apa" or "cff".

    Raises
    ------
    UsageError
        If `form` is none of them.
    """
    if form not in FORMATS:
        raise UsageError(f"unknown citation format {form!r}", nearest(form, FORMATS))
    if form == "cff":
        return cff(publication, subject)
    return (bibtex if form == "bibtex" else apa)(publication, subject)


# BibTeX


def bibtex(publication: Publication | None, subject: Subject) -> str:
    """Return BibTeX entries."""
    fields = {
        "author": _names(publication.creators if publication else ()),
        "title": f"{{{_latex(_title(publication, subject))}}}",
        "year": str(publication.date.year) if publication else "",
        "publisher": _latex(publication.publisher) if publication else "",
        "version": publication.version if publication else "",
        "doi": (publication.doi or "") if publication else "",
        "note": _origin(subject),
    }
    entries = [_entry("dataset", _key(publication, subject), fields)]
    authors = _names(_AUTHORS_2018)
    entries.append(
        _entry(
            "misc",
            "golkar2018backdrop",
            {
                "author": authors,
                "title": f"{{{_PAPER['title']}}}",
                "year": _PAPER["year"],
                "eprint": _PAPER["arxiv"],
                "archiveprefix": "arXiv",
            },
        )
    )
    if subject.from_2018:
        entries.append(
            _entry(
                "dataset",
                "golkar2018data",
                {
                    "author": authors,
                    "title": f"{{{_DATA_2018['title']}}}",
                    "year": _DATA_2018["year"],
                    "publisher": "Zenodo",
                    "doi": _DATA_2018["doi"],
                },
            )
        )
    return "\n\n".join(entries) + "\n"


def _entry(kind: str, key: str, fields: dict[str, str]) -> str:
    lines = [f"  {name} = {{{value}}}," for name, value in fields.items() if value]
    return "\n".join([f"@{kind}{{{key},", *lines, "}"])


def _key(publication: Publication | None, subject: Subject) -> str:
    name = re.sub(r"[^A-Za-z0-9]+", "", subject.name) or "textures"
    if publication is None:
        return f"gpgen{name}"
    family = re.sub(r"[^A-Za-z0-9]+", "", publication.creators[0].family).lower()
    return f"{family or 'gpgen'}{publication.date.year}{name}"


def _names(creators: tuple[Creator, ...]) -> str:
    return " and ".join(
        f"{{{_latex(creator.name)}}}" if creator.organization else _latex(creator.name)
        for creator in creators
    )


def _latex(text: str) -> str:
    return re.sub(r"([&%$#_{}])", r"\\\1", text)


# APA


def apa(publication: Publication | None, subject: Subject) -> str:
    """Return references in the style of the APA, a line each."""
    paper = (
        f"{_apa_names(_AUTHORS_2018)} ({_PAPER['year']}). {_PAPER['title']}. "
        f"arXiv:{_PAPER['arxiv']}. https://arxiv.org/abs/{_PAPER['arxiv']}"
    )
    if publication is None:
        own = f"{_title(None, subject)} [Data set]. {_origin(subject)}."
    else:
        where = f" https://doi.org/{publication.doi}" if publication.doi else ""
        own = (
            f"{_apa_names(publication.creators)} ({publication.date.year}). {publication.title} "
            f"(Version {publication.version}) [Data set]. {publication.publisher}.{where}"
        )
    lines = [own, paper]
    if subject.from_2018:
        lines.append(
            f"{_apa_names(_AUTHORS_2018)} ({_DATA_2018['year']}). {_DATA_2018['title']} "
            f"[Data set]. Zenodo. https://doi.org/{_DATA_2018['doi']}"
        )
    return "\n".join(lines) + "\n"


def _apa_names(creators: tuple[Creator, ...]) -> str:
    names = []
    for creator in creators:
        if creator.organization:
            names.append(creator.name)
            continue
        initials = " ".join(
            "-".join(f"{part[0]}." for part in given.split("-") if part)
            for given in creator.given.split()
        )
        names.append(f"{creator.family}, {initials}")
    if len(names) == 1:
        return names[0].removesuffix(".") + "." if names[0].endswith(".") else names[0]
    return ", ".join(names[:-1]) + f", & {names[-1]}"


# CFF


def cff(publication: Publication | None, subject: Subject) -> str:
    """Return a CITATION.cff."""
    document: dict[str, Any] = {
        "cff-version": "1.2.0",
        "type": "dataset",
        "message": "If you use this dataset, please cite it and the works it goes back to.",
        "title": _title(publication, subject),
    }
    if publication is None:
        document["authors"] = [{"name": f"gpgen {subject.gpgen_version}"}]
        document["abstract"] = f"{subject.summary}\n\n{subject.methods}"
    else:
        document["authors"] = [_cff_person(creator) for creator in publication.creators]
        document["version"] = publication.version
        document["date-released"] = publication.date
        document["license"] = publication.license
        document["abstract"] = abstract(publication, subject)
        document["keywords"] = keywords(publication, subject)
        if publication.doi:
            document["doi"] = publication.doi
    document["references"] = _cff_references(subject)
    text: str = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=100)
    return text


def _cff_person(creator: Creator) -> dict[str, str]:
    if creator.organization:
        return {"name": creator.name}
    person = {"family-names": creator.family, "given-names": creator.given}
    if creator.orcid:
        person["orcid"] = f"https://orcid.org/{creator.orcid}"
    if creator.affiliation:
        person["affiliation"] = creator.affiliation
    return person


def _cff_references(subject: Subject) -> list[dict[str, Any]]:
    authors = [_cff_person(creator) for creator in _AUTHORS_2018]
    references: list[dict[str, Any]] = [
        {
            "type": "article",
            "title": _PAPER["title"],
            "authors": authors,
            "year": int(_PAPER["year"]),
            "identifiers": [{"type": "other", "value": f"arXiv:{_PAPER['arxiv']}"}],
            "url": f"https://arxiv.org/abs/{_PAPER['arxiv']}",
        }
    ]
    if subject.from_2018:
        references.append(
            {
                "type": "data",
                "title": _DATA_2018["title"],
                "authors": [dict(author) for author in authors],
                "year": int(_DATA_2018["year"]),
                "doi": _DATA_2018["doi"],
            }
        )
    return references


def _origin(subject: Subject) -> str:
    if subject.is_drawn:
        return f"Made with gpgen {subject.gpgen_version}, recipe SHA-256 {subject.recipe_sha256}"
    return f"Imported with gpgen {subject.gpgen_version} from {subject.recipe['source_name']}"


def _title(publication: Publication | None, subject: Subject) -> str:
    if publication is not None:
        return publication.title
    return f"{subject.name}: {subject.n:,} Gaussian-process textures"
