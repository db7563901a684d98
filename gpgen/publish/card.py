"""README.md: the dataset's card, with the YAML head that the Hugging Face Hub reads."""

from __future__ import annotations

from typing import Any, Final

import yaml

from gpgen.publish.citation import apa, bibtex
from gpgen.publish.figure import MOST_ROWS
from gpgen.publish.licences import licence_title, licence_url
from gpgen.publish.publication import Publication
from gpgen.publish.subject import TARGETS, DepositFile, Subject
from gpgen.publish.words import keywords, make_command

__all__ = ["card", "yaml_head"]

_OTHERS: Final = {
    "zarr": ("xarray", """import xarray

dataset = xarray.open_zarr("data.zarr")   # lazy: image, label, length_scale, ...
image = dataset["image"][0].values
"""),
    "hdf5": ("h5py", """import h5py

with h5py.File("data.h5") as file:
    image, label = file["image"][0], file["label"][0]
"""),
    "hdf5-shards": ("h5py", """import h5py

with h5py.File("data-00000.h5") as file:
    image = file["image"][0]
"""),
    "webdataset": ("webdataset", """import webdataset

for sample in webdataset.WebDataset("data-00000.tar", shardshuffle=False).decode():
    image, label = sample["npy"], sample["cls"]
"""),
}  # fmt: skip
"""How to load each form with a library that isn't ours."""

_SIZES: Final = (
    (10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"),
    (10**7, "1M<n<10M"), (10**8, "10M<n<100M"), (10**9, "100M<n<1B"),
)  # fmt: skip

_HUB_LICENCES: Final = frozenset({
    "apache-2.0", "mit", "cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "cc-by-nc-sa-4.0",
    "cc-by-nd-4.0", "cc-by-nc-nd-4.0", "pddl", "odc-by", "odbl", "bsd-3-clause", "bsd-2-clause",
    "gpl-3.0", "unlicense", "wtfpl",
})  # fmt: skip


def yaml_head(publication: Publication, subject: Subject) -> str:
    """Return the metadata block of a Hugging Face dataset card."""
    licence = publication.license.lower()
    head: dict[str, Any] = {
        "pretty_name": publication.title,
        "license": licence if licence in _HUB_LICENCES else "other",
    }
    if licence not in _HUB_LICENCES:
        head["license_name"] = licence
        head["license_link"] = licence_url(publication.license)
    head |= {
        "task_categories": ["image-classification"],
        "size_categories": [next((name for limit, name in _SIZES if subject.n < limit), "n>1T")],
        "tags": keywords(publication, subject),
        # The table is what the Hub's viewer can show.
        "configs": [{"config_name": "samples", "data_files": "samples.csv"}],
    }
    text: str = yaml.safe_dump(head, sort_keys=False, allow_unicode=True, width=100)
    return f"---\n{text}---\n"


def card(
    publication: Publication,
    subject: Subject,
    files: tuple[DepositFile, ...],
    *,
    figure: str,
) -> str:
    """Return the whole card.

    Parameters
    ----------
    publication, subject
        What is described.
    files
        The other files of the deposit.
    figure
        The contact sheet's file name.
    """
    parts = [yaml_head(publication, subject), f"# {publication.title}"]
    parts += [part.strip() for part in publication.description.split("\n\n") if part.strip()]
    parts.append(subject.summary)
    shown = subject.classes[:MOST_ROWS]
    left_out = len(subject.classes) - len(shown)
    parts += [
        f"![A contact sheet: a row for each class]({figure})\n\n"
        "A row for each class, in the order of the labels: "
        + ", ".join(f"{name} px" for name in shown)
        + (f"; {left_out} more are left out" if left_out else "")
        + ". Dark is low, light is high.",
        _classes(subject),
        f"## Exactness\n\n{subject.methods}",
        _loading(subject),
        _again(subject),
        _files(files),
        f"## Licence\n\n[{licence_title(publication.license)}]({licence_url(publication.license)})",
        f"## Citation\n\n{_bullets(apa(publication, subject))}",
        f"```bibtex\n{bibtex(publication, subject)}```",
    ]
    return "\n\n".join(parts) + "\n"


def _bullets(lines: str) -> str:
    return "\n".join(f"- {line}" for line in lines.splitlines())


def _classes(subject: Subject) -> str:
    count = len(subject.classes)
    classes = zip(subject.classes[:64], subject.counts, strict=False)
    rows = [f"| {label} | {name} | {number:,} |" for label, (name, number) in enumerate(classes)]
    if count > 64:
        rows.append(f"| ... | {count - 64} more, see samples.csv | |")
    splits = [f"| {name} | {number:,} |" for name, number in subject.splits.items()]
    table = "\n".join(["| label | class | samples |", "| --- | --- | --- |", *rows])
    if not splits:
        return f"## Classes\n\n{table}"
    parts = "\n".join(["| split | samples |", "| --- | --- |", *splits])
    return f"## Classes and splits\n\n{table}\n\n{parts}\n\nClasses are balanced in each split."


def _loading(subject: Subject) -> str:
    if subject.form == "archive":
        return _loading_2018()
    first = ""
    sharded = "{" in TARGETS[subject.form]
    place = "." if sharded else TARGETS[subject.form]
    if subject.form == "zarr" and not subject.recipe_only:
        first = "Unpack it once: `python -m zipfile -e data.zarr.zip data.zarr`\n\n"
    if subject.recipe_only:
        first = "Make it first (below).\n\n"
    torch = (
        "```python\n"
        "from gpgen.torch import TextureDataset\n\n"
        f'train = TextureDataset("{place}", split="train")\n'
        "image, label = train[0]\n"
        "```"
    )
    name, code = _OTHERS[subject.form]
    other = f"```python\n{code}```"
    gpgen = (
        "```python\n"
        "import gpgen\n\n"
        f'dataset = gpgen.open_dataset("{place}")\n'
        "images = dataset.read([0, 5, 7])      # checked against the checksums\n"
        "```"
    )
    return f"## Loading\n\n{first}PyTorch:\n\n{torch}\n\n{name}:\n\n{other}\n\ngpgen:\n\n{gpgen}"


def _loading_2018() -> str:
    return (
        "## Loading\n\n"
        "`samples.zip` holds a NumPy file for each sample of one length-scale; `dataset.zip` holds "
        "pickles of a list of images with labels and a dictionary of class names. The loading code "
        "published with the paper reads both. To train from it with PyTorch, xarray or h5py:\n\n"
        "```\ngpgen import dataset.zip --out data.zarr\n```"
    )


def _again(subject: Subject) -> str:
    return (
        "## Making it again\n\n"
        "The recipe determines every bit. With the files of this record in `deposit/`, this draws "
        "the pixels and compares every checksum:\n\n"
        f"```\npip install gpgen=={subject.gpgen_version}\n{make_command(subject)}\n```\n\n"
        f"Recipe SHA-256: `{subject.recipe_sha256}`"
    )


def _files(files: tuple[DepositFile, ...]) -> str:
    rows = [f"| {file.name} | {file.nbytes:,} | {file.description} |" for file in files[:64]]
    if len(files) > 64:
        rows.append(f"| ... | | {len(files) - 64} more, see SHA256SUMS |")
    return "\n".join(
        ["## Files", "", "| file | bytes | what it is |", "| --- | --- | --- |", *rows]
    )
