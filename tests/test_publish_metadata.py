"""Every metadata file, found valid by the outside tool of its own community."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import json
import re
import subprocess
import sys

import numpy as np
import pytest
import yaml
from publish_help import PUBLICATION, publication, refusal, small_recipe

from gpgen import Recipe, builtin_recipes
from gpgen.errors import UsageError
from gpgen.publish.card import card
from gpgen.publish.citation import apa, bibtex, cff, cite
from gpgen.publish.croissant import croissant_json
from gpgen.publish.datacite_json import datacite_json
from gpgen.publish.invenio_record import invenio_record
from gpgen.publish.publication import Publication
from gpgen.publish.subject import DepositFile, dataset_subject
from gpgen.publish.tables import samples_table
from gpgen.publish.validation import outside_tools, validate
from gpgen.sampling import seeds

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
TOOLS = {
    "croissant.json": "mlcroissant",
    "datacite.json": "datacite",
    "CITATION.cff": "cffconvert",
    "record.json": "invenio-rdm-records",
}


def subject_of(recipe, **options):
    layout = {"shard_size": 16, "chunk_size": 4}
    return dataset_subject(recipe, 10_000, "zarr", layout=layout, **options)


def documents(publication, subject):
    return {
        "croissant.json": json.dumps(croissant_json(publication, subject, FILES)),
        "datacite.json": json.dumps(datacite_json(publication, subject, FILES)),
        "CITATION.cff": cff(publication, subject),
        "record.json": json.dumps(invenio_record(publication, subject)),
    }


@pytest.mark.parametrize("text", [PUBLICATION, FULL], ids=["short", "full"])
@pytest.mark.parametrize("recipe", builtin_recipes())
@pytest.mark.parametrize("file", TOOLS)
def test_a_builtin_recipes_metadata_are_valid_by_an_outside_tool(file, recipe, text):
    if file not in outside_tools():
        pytest.skip(f"{TOOLS[file]} is not installed")
    made = documents(Publication.from_toml(text), subject_of(Recipe.load(recipe)))
    assert validate({file: made[file]})[file].startswith(TOOLS[file])


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("croissant.json", '"cr:FileObject"', '"cr:FileThing"'),
        ("datacite.json", '"Dataset"', '"Datensatz"'),
        ("CITATION.cff", "family-names", "familynames"),
        ("record.json", '"publisher"', '"publsher"'),
    ],
)
def test_the_outside_tools_refuse_what_is_wrong(file, old, new):
    if file not in outside_tools():
        pytest.skip(f"{TOOLS[file]} is not installed")
    made = documents(publication(), subject_of(small_recipe()))[file]
    assert old in made
    assert f"{file} is refused by" in refusal(UsageError, validate, {file: made.replace(old, new)})


def test_without_the_outside_tools_our_own_checks_remain(monkeypatch):
    monkeypatch.setattr("gpgen.publish.validation.outside_tools", dict)
    made = documents(publication(), subject_of(small_recipe()))
    assert set(validate(made).values()) == {"gpgen's own checks"}
    made["record.json"] = made["record.json"].replace("publication_date", "date")
    assert "lacks publication_date" in refusal(UsageError, validate, made)


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
    text = card(publication(), subject_of(small_recipe()), FILES, figure="figure.png")
    head = yaml.safe_load(re.match(r"---\n(.*?)---\n", text, re.DOTALL)[1])
    assert head["license"] == "cc-by-4.0"
    assert head["size_categories"] == ["10K<n<100K"]
    odd = Publication.from_toml(PUBLICATION.replace("CC-BY-4.0", "ECL-2.0"))
    other = card(odd, subject_of(small_recipe()), FILES, figure="figure.png")
    head = yaml.safe_load(re.match(r"---\n(.*?)---\n", other, re.DOTALL)[1])
    assert (head["license"], head["license_name"]) == ("other", "ecl-2.0")


@pytest.mark.skipif(
    importlib.util.find_spec("huggingface_hub") is None, reason="huggingface_hub is not installed"
)
def test_the_hubs_own_parser_takes_the_head():
    from huggingface_hub import DatasetCard

    text = card(publication(), subject_of(small_recipe()), FILES, figure="figure.png")
    assert DatasetCard(text).data.license == "cc-by-4.0"


def test_every_python_block_of_the_card_compiles():
    for form in ("zarr", "hdf5", "hdf5-shards", "webdataset"):
        subject = dataset_subject(small_recipe(), 40, form, layout={"shard_size": 16})
        text = card(publication(), subject, FILES, figure="figure.png")
        blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
        assert len(blocks) == 3
        for block in blocks:
            compile(block, form, "exec")


def test_every_class_and_split_is_counted_in_the_card():
    text = card(publication(), subject_of(small_recipe()), FILES, figure="figure.png")
    assert "| 0 | 2-8 | 2,500 |" in text
    assert "| train | 8,000 |" in text
