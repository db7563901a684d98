"""The page itself: one HTML file that needs nothing else, and asks nothing of the network."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from gpgen.description.citation import cite
from gpgen.description.publication import Publication
from gpgen.description.subject import Subject
from gpgen.errors import Argument, TargetError, UsageError
from gpgen.io import files as disk
from gpgen.io.failures import target_errors
from gpgen.io.output_files import check_output_file
from gpgen.io.paths import Given
from gpgen.io.user_paths import AnyText, target_of
from gpgen.report.charts import correlation_chart, power_chart, ratio_chart, values_chart
from gpgen.report.measuring import Measured, measurable, measure
from gpgen.report.pictures import data_uris, shrink
from gpgen.report.showing import Shown, show
from gpgen.report.style import SCRIPT, STYLE

__all__ = ["ReportProgress", "write_report"]

_MOST_CLASSES: Final = 8
_TILES: Final = 4
_MOST_ROWS: Final = 64


Picture = tuple[int, npt.NDArray[np.float64]]


@dataclass(frozen=True)
class ReportProgress:
    """How far a report is: classes measured, and in all."""

    done: int
    classes: int


def write_report(
    dataset: Given,
    out: AnyText,
    *,
    samples: int = 16,
    publication: Publication | None = None,
    overwrite: bool = False,
    progress: Callable[[ReportProgress], None] | None = None,
) -> Path:
    """Write a page about a dataset.

    Parameters
    ----------
    dataset
        As for `gpgen.open_dataset`, or a folder made by `gpgen archive`.
    out
        The HTML file to write.
    samples
        How many of each class are measured, at most; two at least.
    publication
        What publication.toml says, for the title and the citation.
    overwrite
        Whether to replace a file that is there.
    progress
        Called after each class.

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
        If `samples` is too small.
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
    with show(dataset) as shown:
        page = _page(shown, samples, publication, progress)
    with target_errors(f"{target} can't be written"):
        disk.replace_file(target, page.encode(), target.parent)
    return target


def _page(
    shown: Shown,
    samples: int,
    publication: Publication | None,
    progress: Callable[[ReportProgress], None] | None,
) -> str:
    subject = shown.subject
    title = publication.title if publication else f"{subject.name}: {subject.n:,} textures"
    classes = min(len(subject.classes), _MOST_CLASSES)
    pictures: list[list[Picture]] = []
    measured: list[Measured] = []
    read = not_finite = 0
    for label in range(classes):
        indices = shown.indices(label)[:samples]
        images = shown.read(indices)
        pictures.append([(indices[k], shrink(image)) for k, image in enumerate(images[:_TILES])])
        finite = measurable(images)
        read += len(images)
        not_finite += len(images) - int(finite.sum())
        if finite.sum() > 1:
            measured.append(measure(shown.recipe, label, images[finite]))
        if progress:
            progress(ReportProgress(label + 1, classes))
    body = [
        _head(title, subject),
        _sheet(subject, pictures),
        _classes(subject),
        _statistics(measured, len(subject.classes), read, not_finite),
        _provenance(shown),
        _checksums(shown),
        "<h2>Citation</h2>",
        f"<pre>{escape(cite(publication, subject, 'apa'))}</pre>",
        _folded("BibTeX", f"<pre>{escape(cite(publication, subject))}</pre>"),
    ]
    # Nothing may be loaded from anywhere: the browser itself sees to it.
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
    policy += "script-src 'unsafe-inline'"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        f'<link rel="icon" href="data:,">\n<title>{escape(title)}</title>\n'
        f"<style>{STYLE}</style>\n</head>\n<body>\n" + "\n".join(body) + "\n"
        '<dialog aria-label="A sample, enlarged"><img alt="" src="data:,"><p class="soft"></p>'
        f"</dialog>\n<script>{SCRIPT}</script>\n</body>\n</html>\n"
    )


def _folded(summary: str, inside: str) -> str:
    return f"<details><summary>{summary}</summary>{inside}</details>"


def _head(title: str, subject: Subject) -> str:
    facts = {
        "samples": f"{subject.n:,}",
        "classes": f"{len(subject.classes):,}",
        "pixels": " \N{MULTIPLICATION SIGN} ".join(map(str, subject.shape)),
        "type": subject.dtype,
        "format": {
            "zarr": "Zarr v3",
            "hdf5": "HDF5",
            "hdf5-shards": "HDF5 shards",
            "webdataset": "tar files",
            "archive": "the files of 2018",
        }[subject.form],
        "made with": f"gpgen {subject.gpgen_version}",
    }
    cells = "".join(f"<div><dt>{key}</dt><dd>{value}</dd></div>" for key, value in facts.items())
    return f"<h1>{escape(title)}</h1>\n<p>{escape(subject.summary)}</p>\n<dl>{cells}</dl>"


def _sheet(subject: Subject, pictures: list[list[Picture]]) -> str:
    flat = [image for row in pictures for _, image in row]
    uris = iter(data_uris(flat))
    rows = []
    for label, row in enumerate(pictures):
        name = subject.classes[label]
        tiles = "".join(
            '<button class="tile" type="button"><img '
            f'alt="Sample {index}, class {label} ({escape(name)} px)" src="{next(uris)}">'
            "</button>"
            for index, _ in row
        )
        rows.append(
            f'<div class="row"><div><strong>{escape(name)}</strong> px<br>'
            f'<span class="soft">class {label}</span></div><div class="tiles">{tiles}</div></div>'
        )
    more = len(subject.classes) - len(pictures)
    note = f" The other {more:,} classes are left out." if more else ""
    return (
        "<h2>Samples</h2>\n<p class='soft'>The first of each class, all on one scale of grey."
        f"{note} Click or tap to enlarge.</p>\n" + "\n".join(rows)
    )


def _classes(subject: Subject) -> str:
    classes = list(zip(subject.classes, subject.counts, strict=True))
    rows = "".join(
        f"<tr><td>{label}</td><td>{escape(name)}</td><td>{count:,}</td></tr>"
        for label, (name, count) in enumerate(classes[:_MOST_ROWS])
    )
    splits = "".join(
        f"<tr><td>{escape(name)}</td><td>{number:,}</td></tr>"
        for name, number in subject.splits.items()
    )
    if splits:
        splits = (
            "<table><thead><tr><th>split</th><th>samples</th></tr></thead>"
            f"<tbody>{splits}</tbody></table>"
        )
    left_out = len(classes) - _MOST_ROWS
    more = f"<p class='soft'>{left_out:,} more classes.</p>" if left_out > 0 else ""
    return (
        f"<h2>Classes{' and splits' if splits else ''}</h2>\n"
        '<div class="tables scroll"><table><thead><tr><th>label</th>'
        f"<th>length-scales (px)</th><th>samples</th></tr></thead><tbody>{rows}</tbody></table>"
        f"{splits}</div>{more}"
    )


def _statistics(measured: list[Measured], classes: int, read: int, not_finite: int) -> str:
    title = "<h2>Statistics</h2>\n"
    if not_finite:
        hold = "images hold" if not_finite > 1 else "image holds"
        title += (
            f"<p><strong>{not_finite:,} {hold} values that are not finite</strong>, of {read:,} "
            "that were read; no statistics are of them.</p>\n"
        )
    if not measured:
        return f"{title}<p>There are too few samples to measure.</p>"
    has_theory = any(each.power.theory is not None for each in measured)
    normal = "a normal density"
    key = (
        '<p class="key soft"><span><i class="m"></i>measured, 95 % confidence</span>'
        + ('<span><i class="t"></i>expected</span>' if has_theory else "")
        + f'<span><i class="k"></i>{"the kernels alone; " if has_theory else ""}{normal}</span></p>'
    )
    words = (
        "<p>Measured on the first samples of each class; the intervals come from the scatter "
        "between them, each for its point alone. "
    )
    if has_theory:
        words += (
            "What is expected follows from the recipe by computation, with the finite image and "
            "the standardizing taken into account, where the power is above a millionth of its "
            "highest. Of right data, too, one point in twenty and more lies outside its interval, "
            "and neighbours together: this page shows, and judges nothing."
        )
    else:
        words += "There is no formula for what is expected of them."
    cards = "\n".join(_card(each) for each in measured)
    left_out = classes - len(measured)
    note = f"<p class='soft'>{left_out:,} classes are left out.</p>" if left_out else ""
    return f"{title}{words}</p>\n{key}\n{cards}{note}"


def _card(each: Measured) -> str:
    figures = "".join(
        f"<figure>{chart}<figcaption>{what}</figcaption></figure>"
        for chart, what in (
            (power_chart(each.power), "Radially averaged power spectrum"),
            (ratio_chart(each.power), "The same over what is expected"),
            (correlation_chart(each.correlation), "Correlation by distance"),
            (values_chart(each.values), "Values of the pixels"),
        )
        if chart
    )
    return (
        f'<div class="charts"><h3>Class {each.label}: {escape(each.name)} px '
        f'<span class="soft">({each.samples} samples)</span></h3>' + figures + "</div>"
    )


def _provenance(shown: Shown) -> str:
    hashes = "".join(
        f"<tr><th>{key}</th><td class='hash'>{value}</td></tr>"
        for key, value in shown.hashes.items()
    )
    table = f'\n<div class="scroll"><table>{hashes}</table></div>' if hashes else ""
    return (
        f"<h2>Provenance</h2>\n<p>{escape(shown.subject.methods)}</p>\n"
        f"<p>{escape(shown.layout)}</p>\n<pre>{escape(shown.source)}</pre>{table}"
    )


def _checksums(shown: Shown) -> str:
    rows = "".join(
        f"<tr><td>{escape(name)}</td><td class='hash'>{digest}</td></tr>"
        for name, digest in shown.files.items()
    )
    count, unit = shown.file_count, shown.unit
    left_out = count - len(shown.files)
    more = f"<p class='soft'>{left_out:,} more are in the dataset.</p>" if left_out else ""
    compare = "sha256sum -c SHA256SUMS" if unit == "file" else "gpgen verify"
    return (
        f"<h2>Checksums</h2>\n<details><summary>SHA-256 of {count:,} {unit}"
        f"{'s' if count > 1 else ''}</summary><div class='scroll'><table><thead><tr>"
        f"<th>{unit}</th><th class='hash'>SHA-256</th></tr></thead><tbody>{rows}</tbody></table>"
        f"</div>{more}</details>\n<p class='soft'>As the dataset states them; "
        f"<code>{compare}</code> compares them with what is on the disk.</p>"
    )
