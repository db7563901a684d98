"""The page itself: one HTML file that needs nothing else, and asks nothing of the network."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from gpgen.contact_sheet.content import (
    choose_classes,
    first_of_each,
    names_explained,
    reduced,
    shown_plane,
)
from gpgen.contact_sheet.png import data_uri, tiles
from gpgen.description.citation import cite
from gpgen.description.difficulty_in_words import accuracy_in_words, components_in_words
from gpgen.description.publication import Publication
from gpgen.errors import Argument, TargetError, UsageError
from gpgen.io import files as disk
from gpgen.io.failures import target_errors
from gpgen.io.output_files import check_output_file
from gpgen.io.paths import Given
from gpgen.io.user_paths import AnyText, target_of
from gpgen.progress import Follow, Progress, Tell, following
from gpgen.report.charts import correlation_chart, power_chart, ratio_chart, values_chart
from gpgen.report.content import PageContent, open_content
from gpgen.report.measuring import Measured, measurable, measure
from gpgen.report.templates import render
from gpgen.report.verdict import Verdict, judge

__all__ = ["write_report"]

_TILES: Final = 4
_SIDE: Final = 384
"""Pixels of a tile's longer side."""

_MOST_ROWS: Final = 64
_FORMATS: Final = {
    "zarr": "Zarr v3",
    "hdf5": "HDF5",
    "hdf5-shards": "HDF5 shards",
    "webdataset": "tar files",
    "archive": "the files of 2018",
}


def write_report(
    dataset: Given,
    out: AnyText,
    *,
    samples: int = 16,
    publication: Publication | None = None,
    classes: Sequence[str] | None = None,
    overwrite: bool = False,
    progress: Follow = None,
) -> Path:
    """Write a page about a dataset.

    Parameters
    ----------
    dataset
        As for `gpgen.open_dataset`, or a folder made by `gpgen archive`.
    out
        The HTML file to write.
    samples
        How many of each class are measured and audited, at most; two at least.
    publication
        What publication.toml says, for the title and the citation.
    classes
        Names of the classes to show and measure; by default all, or eight evenly chosen if there
        are more.
    overwrite
        Whether to replace a file that is there.
    progress
        ``True`` draws a bar; a function is called with a `gpgen.Progress` of each "class", then as
        `gpgen.audit` and `gpgen.difficulty` do.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    DatasetError
        If an image that is shown or measured is damaged.
    TargetError
        If the file exists and is not to be replaced, or can't be written.
    UsageError
        If `samples` is too small, or there is no class of such a name.
    """
    if samples < 2:
        raise UsageError(f"{samples} samples have no scatter", "measure 2 or more of each class")
    target = target_of(out)
    if os.path.lexists(target) and not overwrite:
        raise TargetError(
            f"{target} exists",
            f"give another {Argument.OUT}, or {Argument.OVERWRITE} to replace it",
        )
    check_output_file(target)
    with open_content(dataset) as content, following(progress) as tell:
        page = _page(content, samples, publication, classes, tell)
    with target_errors(f"{target} can't be written", resumes=False):
        disk.replace_file(target, page.encode(), target.parent)
    return target


def _page(
    content: PageContent,
    samples: int,
    publication: Publication | None,
    wanted: Sequence[str] | None,
    tell: Tell,
) -> str:
    description, recipe, n = content.description, content.recipe, content.description.n
    present = [label for label, count in enumerate(description.counts) if count]
    labels = choose_classes(description.classes, present, wanted)
    indices = first_of_each(recipe.labels, n, len(description.classes), samples)
    pictures: list[list[npt.NDArray[np.float64]]] = []
    measured: list[Measured] = []
    indices_read: list[int] = []
    not_finite = 0
    for done, label in enumerate(labels, start=1):
        images = content.read(indices[label])
        pictures.append([reduced(image, _SIDE) for image in images[:_TILES]])
        finite = measurable(images)
        indices_read += indices[label]
        not_finite += len(images) - int(finite.sum())
        if finite.sum() > 1:
            measured.append(measure(recipe, label, images[finite]))
        tell(Progress(done, len(labels), "class"))
    verdict = judge(content, indices_read, finite=not not_finite, tell=tell)
    return render(
        "page.html.jinja",
        title=publication.title if publication else f"{description.name}: {n:,} textures",
        description=description,
        content=content,
        facts={
            "samples": f"{n:,}",
            "classes": f"{len(description.classes):,}",
            "pixels": " \N{MULTIPLICATION SIGN} ".join(map(str, description.shape)),
            "type": description.dtype,
            "format": _FORMATS[description.form],
            "made with": f"gpgen {description.gpgen_version}",
        },
        plane=shown_plane(description.shape),
        explained=names_explained(
            [description.classes[label] for label in labels], len(description.shape)
        ),
        classes=[
            {
                "label": label,
                "name": description.classes[label],
                "tiles": list(zip(indices[label], map(data_uri, row), strict=False)),
            }
            for label, row in zip(labels, tiles(pictures, side=_SIDE, coloured=True), strict=True)
        ],
        left_out=len(description.classes) - len(labels),
        counts=list(zip(description.classes, description.counts, strict=True)),
        most_rows=_MOST_ROWS,
        read=len(indices_read),
        samples=samples,
        verdict=verdict,
        difficulty=_difficulty(verdict),
        not_finite=not_finite,
        measured=[(each, _charts(each, len(description.shape))) for each in measured],
        has_theory=any(each.power.theory is not None for each in measured),
        not_computed=sorted({each.not_computed for each in measured} - {""}),
        apa=cite(publication, description, "apa"),
        bibtex=cite(publication, description),
    )


def _difficulty(verdict: Verdict) -> list[tuple[str, str]]:
    """Return rows of a table: what is told apart, and in how many images."""
    known = verdict.difficulty
    if known is None:
        return []
    least = "" if known.converged else "at least "
    rows = [
        (f"component {number}: {names}", least + found)
        for number, names, found in components_in_words(known)
    ]
    return [*rows, ("all classes", least + accuracy_in_words(known.accuracy, known.error))]


def _charts(each: Measured, axes: int) -> list[tuple[Markup, str]]:
    return [
        (
            power_chart(each.power, axes),
            "Power spectrum" if axes == 1 else "Radially averaged power spectrum",
        ),
        (ratio_chart(each.power), "Measured power over expected power"),
        (correlation_chart(each.correlation), "Correlation by distance"),
        (values_chart(each.values), "Values of the pixels"),
    ]
