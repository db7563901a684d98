"""How to cite a dataset: each work once as CSL-JSON, then in BibTeX, APA style and CFF.

CSL-JSON is the form in which Zotero, Pandoc and citeproc exchange references
(https://citeproc-js.readthedocs.io/en/latest/csl-json/markup.html). The tests hold the BibTeX
against pybtex and the APA style against citeproc; neither writes what we need by itself (pybtex
leaves braces and backslashes as they are, citeproc's styles are 89 MB).
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

import yaml

from gpgen.description.abstract import abstract, keywords
from gpgen.description.dataset_description import DatasetDescription
from gpgen.description.publication import Creator, License, Publication
from gpgen.errors import UsageError
from gpgen.recipe_checks import nearest

__all__ = ["FORMATS", "apa", "bibtex", "cff", "cite", "csl"]

FORMATS: Final = ("bibtex", "apa", "cff", "csl-json")

Work = dict[str, Any]

_AUTHORS_2018: Final = (Creator("Golkar, Siavash"), Creator("Cranmer, Kyle"))

_MOST_AUTHORS: Final = 20
"""APA names as many; of more, the first 19 and the last."""


def cite(
    publication: Publication | None, description: DatasetDescription, form: str = "bibtex"
) -> str:
    """Return how to cite a dataset: itself, the paper, and the data of 2018 where it is the source.

    Parameters
    ----------
    publication
        What publication.toml says; without it the dataset is cited by its recipe.
    description
        The dataset.
    form
        "bibtex", "apa", "cff" or "csl-json".

    Raises
    ------
    UsageError
        If `form` is none of them.
    """
    if form not in FORMATS:
        raise UsageError(f"unknown citation format {form!r}", nearest(form, FORMATS))
    if form == "cff":
        return cff(publication, description)
    if form == "csl-json":
        return json.dumps(csl(publication, description), indent=2, ensure_ascii=False) + "\n"
    return (bibtex if form == "bibtex" else apa)(publication, description)


def csl(publication: Publication | None, description: DatasetDescription) -> list[Work]:
    """Return the works to cite as CSL-JSON, the dataset first."""
    own: Work = {
        "id": _key(publication, description),
        "type": "dataset",
        "title": _title(publication, description),
    }
    if publication is None:
        own["note"] = _origin(description)
    else:
        date = publication.date
        own |= {
            "author": [_person(creator) for creator in publication.creators],
            "issued": {"date-parts": [[date.year, date.month, date.day]]},
            "publisher": publication.publisher,
            "version": publication.version,
            "note": _origin(description),
        }
        if publication.doi:
            own["DOI"] = publication.doi
    authors = [_person(creator) for creator in _AUTHORS_2018]
    issued = {"date-parts": [[2018]]}
    paper: Work = {
        "id": "golkar2018backdrop",
        "type": "article",
        "title": "Backdrop: Stochastic Backpropagation",
        "author": authors,
        "issued": issued,
        "number": "arXiv:1806.01337",
        "URL": "https://arxiv.org/abs/1806.01337",
    }
    data: Work = {
        "id": "golkar2018data",
        "type": "dataset",
        "title": "Data of Backdrop: Stochastic Backpropagation",
        "author": authors,
        "issued": issued,
        "publisher": "Zenodo",
        "DOI": "10.5281/zenodo.1252464",
    }
    return [own, paper, data] if description.from_2018 else [own, paper]


def _person(creator: Creator) -> dict[str, str]:
    if creator.organization:
        return {"literal": creator.family}
    names = {"family": creator.family, "given": creator.given, "suffix": creator.suffix}
    return {key: value for key, value in names.items() if value}


def _key(publication: Publication | None, description: DatasetDescription) -> str:
    name = re.sub(r"[^A-Za-z0-9]+", "", description.name) or "textures"
    if publication is None:
        return f"gpgen{name}"
    family = re.sub(r"[^A-Za-z0-9]+", "", publication.creators[0].family).lower()
    return f"{family or 'gpgen'}{publication.date.year}{name}"


def _origin(description: DatasetDescription) -> str:
    version = f"with gpgen {description.gpgen_version}"
    if description.source is None:
        return f"Made {version}, recipe SHA-256 {description.recipe_sha256}"
    return f"Imported {version} from {description.source}"


def _title(publication: Publication | None, description: DatasetDescription) -> str:
    if publication is not None:
        return publication.title
    return f"{description.name}: {description.n:,} Gaussian-process textures"


# BibTeX

_LATEX: Final = str.maketrans({
    "\\": r"\textbackslash{}", "{": r"\textbraceleft{}", "}": r"\textbraceright{}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    **{character: f"\\{character}" for character in "&%$#_"},
})  # fmt: skip
"""BibTeX counts braces even behind a backslash, so none may stand alone."""


def bibtex(publication: Publication | None, description: DatasetDescription) -> str:
    """Return BibTeX entries."""
    return "\n\n".join(map(_bibtex_entry, csl(publication, description))) + "\n"


def _bibtex_entry(work: Work) -> str:
    fields = {
        "author": " and ".join(map(_bibtex_name, work.get("author", []))),
        # In braces of its own, so that no style changes its capitals.
        "title": f"{{{work['title'].translate(_LATEX)}}}",
        "year": str(work["issued"]["date-parts"][0][0]) if "issued" in work else "",
        **{
            name: work.get(key, "").translate(_LATEX)
            for name, key in (("publisher", "publisher"), ("version", "version"), ("note", "note"))
        },
        "doi": work.get("DOI", ""),
    }
    number = work.get("number", "")
    if number.startswith("arXiv:"):
        fields |= {"eprint": number.removeprefix("arXiv:"), "archiveprefix": "arXiv"}
    kind = "dataset" if work["type"] == "dataset" else "misc"
    lines = [f"  {name} = {{{value}}}," for name, value in fields.items() if value]
    return "\n".join([f"@{kind}{{{work['id']},", *lines, "}"])


def _bibtex_name(person: dict[str, str]) -> str:
    if "literal" in person:
        return f"{{{person['literal'].translate(_LATEX)}}}"
    parts = [person["family"], person.get("suffix", ""), person.get("given", "")]
    named = [part.translate(_LATEX) for part in parts if part]
    # BibTeX splits names at "and" and at commas, but not within braces.
    family = named[0]
    words = family.lower().split()
    if "and" in words or len(named) == 1 or family[:1].islower():
        named[0] = f"{{{family}}}"
    named[1:] = [f"{{{part}}}" if "and" in part.lower().split() else part for part in named[1:]]
    return ", ".join(named)


# APA


def apa(publication: Publication | None, description: DatasetDescription) -> str:
    """Return references in the style of the APA, a line each."""
    return "".join(f"{_apa_reference(work)}\n" for work in csl(publication, description))


def _apa_reference(work: Work) -> str:
    version = f" (Version {work['version']})" if "version" in work else ""
    kind = " [Data set]" if work["type"] == "dataset" else ""
    title = f"{work['title']}{version}{kind}"
    if "author" not in work:
        return f"{title}. {work['note']}."
    names = _apa_names(work["author"])
    year = work["issued"]["date-parts"][0][0]
    source = work.get("publisher") or work.get("number")
    where = f"https://doi.org/{work['DOI']}" if "DOI" in work else work.get("URL", "")
    return f"{names} ({year}). {title}. {source}. {where}".rstrip()


def _apa_names(people: list[dict[str, str]]) -> str:
    names = []
    for person in people:
        initials = " ".join(
            "-".join(f"{part[0]}." for part in given.split("-") if part)
            for given in person.get("given", "").split()
        )
        parts = (person.get("literal") or person["family"], initials, person.get("suffix", ""))
        names.append(", ".join(part for part in parts if part))
    if len(names) > _MOST_AUTHORS:
        return f"{', '.join(names[: _MOST_AUTHORS - 1])}, … {names[-1]}"
    if len(names) == 1:
        return names[0]
    return f"{', '.join(names[:-1])}, & {names[-1]}"


# CFF


def cff(publication: Publication | None, description: DatasetDescription) -> str:
    """Return a CITATION.cff; see https://github.com/citation-file-format/citation-file-format."""
    document: Work = {
        "cff-version": "1.2.0",
        "type": "dataset",
        "message": "If you use this dataset, please cite it and the works it goes back to.",
        "title": _title(publication, description),
    }
    if publication is None:
        document["authors"] = [{"name": f"gpgen {description.gpgen_version}"}]
        document["abstract"] = f"{description.summary}\n\n{description.methods}"
    else:
        document["authors"] = [_cff_person(creator) for creator in publication.creators]
        document["version"] = publication.version
        document["date-released"] = publication.date
        if isinstance(publication.license, License):
            document["license-url"] = publication.license.url
        else:
            document["license"] = publication.license
        document["abstract"] = abstract(publication, description)
        document["keywords"] = keywords(publication, description)
        if publication.doi:
            document["doi"] = publication.doi
    document["references"] = [_cff_reference(work) for work in csl(None, description)[1:]]
    text: str = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=100)
    return text


def _cff_person(creator: Creator) -> dict[str, str]:
    if creator.organization:
        entity = {"name": creator.family}
        return entity | ({"website": creator.ror} if creator.ror else {})
    fields = {
        "family-names": creator.family,
        "given-names": creator.given,
        "name-suffix": creator.suffix,
        "orcid": f"https://orcid.org/{creator.orcid}" if creator.orcid else "",
        "affiliation": creator.affiliation or "",
    }
    return {key: value for key, value in fields.items() if value}


def _cff_reference(work: Work) -> Work:
    reference: Work = {
        "type": "data" if work["type"] == "dataset" else "article",
        "title": work["title"],
        "authors": [
            {"family-names": person["family"], "given-names": person["given"]}
            for person in work["author"]
        ],
        "year": work["issued"]["date-parts"][0][0],
    }
    if "DOI" in work:
        reference["doi"] = work["DOI"]
    else:
        reference["identifiers"] = [{"type": "other", "value": work["number"]}]
        reference["url"] = work["URL"]
    return reference
