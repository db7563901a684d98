"""A dataset that begins with the samples of a smaller one: those are taken over, the rest is drawn.

A sample follows from the recipe and its index, whatever n is. So whole shards are copied where
the format lets them be, other images are read, each compared with its checksum, and the new
dataset is the one that `make` draws. It grows beside its target as any other. If it is to take the
old one's place it does so when it is whole: until then nothing of the old one is touched.
"""

from __future__ import annotations

import dataclasses
from typing import Self

from gpgen.dataset import Dataset, open_dataset
from gpgen.errors import Argument, DatasetError, TargetError, UsageError
from gpgen.format.job import Job
from gpgen.format.layout import Format, Layout, Target
from gpgen.io.paths import AnyPath, Given, place_of
from gpgen.labelled_images import LabelledImages
from gpgen.making.targets import how_else, target_of
from gpgen.recipe import Recipe
from gpgen.sampling import SAMPLING_VERSION
from gpgen.workspace.record import read_job, resume_command

__all__ = ["Reused", "check_sampling", "recipe_to_go_on_with"]


@dataclasses.dataclass(frozen=True)
class Reused:
    """The dataset whose samples another one begins with.

    Parameters
    ----------
    dataset
        It, open; ``None`` if a run that was broken off has replaced it already.
    begun
        The run that was broken off, if the dataset is extended in its place and there is one.
    in_place
        Whether it is to be replaced by the larger one.
    """

    dataset: Dataset | None
    begun: Job | None
    in_place: bool

    @classmethod
    def find(cls, out: Given, *, extend: bool, reuse: Given | None) -> Self | None:
        """Open the dataset that arguments of `make` speak of, if they speak of any.

        Raises
        ------
        UsageError
            If they contradict each other, or ask for what can't be done.
        DatasetError
            If there is none.
        """
        if reuse is not None and extend:
            raise UsageError(
                "extend and reuse exclude each other",
                f"give {Argument.EXTEND} for more samples at {Argument.OUT}, or {Argument.REUSE} "
                f"to leave the smaller dataset as it is",
            )
        if reuse is not None:
            return cls(open_dataset(reuse), None, in_place=False)
        if not extend:
            return None
        target = Target.parse(place_of(out).followed())
        if target.path.is_remote:
            target.path.on_store()
            raise UsageError(
                "nothing on an object store can take another's place in one step, so "
                f"{target.path} can't be extended where it is",
                f"choose another {Argument.OUT}, and give {Argument.REUSE} {target.path}: the "
                "store copies what is there itself",
            )
        begun = read_job(target.working)
        if begun is None:
            return cls(open_dataset(target.manifest), None, in_place=True)
        try:
            dataset = open_dataset(target.manifest)
        except DatasetError:  # it is being replaced
            return cls(None, begun, in_place=True)
        return cls(dataset if dataset.n < begun.layout.n else None, begun, in_place=True)

    @property
    def path(self) -> str | None:
        """The dataset's path, for the record of a run."""
        if self.dataset is not None:
            return str(self.dataset.path)
        return None if self.begun is None else self.begun.reused

    def layout(self, form: Format) -> Layout | None:
        """Return how the dataset, or the run that was begun, is cut, if it has that format."""
        if self.begun is not None:
            return self.begun.layout
        if self.dataset is not None and self.dataset.format == form:
            return self.dataset.manifest.layout
        return None

    def mode(self, n: int, *, resume: bool, overwrite: bool) -> tuple[bool, bool]:
        """Return whether to resume and whether to overwrite, as `make` understands them.

        Raises
        ------
        UsageError, TargetError
            If what is asked for is done already, begun already, or contradicts itself.
        """
        if not self.in_place:
            return resume, overwrite
        if overwrite:
            raise UsageError(
                "extend and overwrite exclude each other",
                f"leave out {Argument.OVERWRITE}: what is there is kept until it is extended",
            )
        if self.begun is not None:
            if not resume:
                raise TargetError(
                    f"{self.begun.target.path} was begun before, with "
                    f"{self.begun.layout.n} samples",
                    f"finish it first with `{resume_command(self.begun)}`" + how_else(self.begun),
                )
            return True, False
        if self.dataset is not None and self.dataset.n == n:
            if not resume:
                raise _nothing_more(self.dataset, n)
            return True, False
        return False, True

    def check(self, job: Job) -> None:
        """Refuse a job that doesn't begin with the dataset's samples.

        Raises
        ------
        UsageError, DatasetError
            If it is another recipe's, has no fewer samples, was drawn by a gpgen that draws
            otherwise, or by none.
        """
        dataset = self.dataset
        if dataset is None:
            return
        _drawn(dataset.recipe, dataset.path)
        check_sampling(dataset, "make it anew")
        n, path = job.layout.n, dataset.path
        if not self.in_place and job.target.manifest == path:
            raise UsageError(
                f"{path} is both target and what is reused",
                f"choose another {Argument.OUT}, or give {Argument.EXTEND} instead",
            )
        target = target_of(dataset) if self.in_place else job.target
        layout = dataset.manifest.layout if self.in_place else job.layout
        layout = dataclasses.replace(layout, n=n)
        there = Job(target, dataset.recipe, layout, roots=dataset.manifest.roots)
        differences = there.differences(job)
        if differences:
            raise UsageError(
                f"{path} differs from what is asked for: {', '.join(differences)}",
                f"leave that out, or make another dataset without {Argument.EXTEND}"
                if self.in_place
                else f"leave that out, or draw all anew without {Argument.REUSE}",
            )
        if n < dataset.n or (n == dataset.n and not self.in_place):
            raise _nothing_more(dataset, n)

    def close(self) -> None:
        """Close the dataset's files."""
        if self.dataset is not None:
            self.dataset.close()


def _nothing_more(dataset: Dataset, n: int) -> UsageError:
    if n == dataset.n:
        return UsageError(f"{dataset.path} has {n} samples already", f"give a larger {Argument.N}")
    return UsageError(
        f"{dataset.path} has {dataset.n} samples, more than {n}",
        f"give a larger {Argument.N}, or copy the first ones: `gpgen convert SRC DST --n {n}`",
    )


def check_sampling(dataset: Dataset, instead: str) -> None:
    """Refuse images that this gpgen would draw otherwise.

    Parameters
    ----------
    dataset
        The dataset.
    instead
        What to do then, in the imperative.
    """
    if dataset.manifest.sampling_version != SAMPLING_VERSION:
        raise DatasetError(
            f"{dataset.path} was drawn by gpgen {dataset.manifest.gpgen_version}, whose textures "
            "are others",
            instead,
        )


def recipe_to_go_on_with(out: Given, *, extend: bool, reuse: Given | None) -> Recipe | None:
    """Return the recipe of the dataset that arguments of `make` speak of, if they speak of any."""
    found = Reused.find(out, extend=extend, reuse=reuse)
    if found is None:
        return None
    found.close()
    if found.dataset is not None:
        return _drawn(found.dataset.recipe, found.dataset.path)
    return None if found.begun is None else _drawn(found.begun.recipe, found.begun.target.path)


def _drawn(described: LabelledImages, where: AnyPath) -> Recipe:
    """Return a recipe, and refuse what nothing draws."""
    if not isinstance(described, Recipe):
        raise UsageError(
            f"{where} was imported, so nothing can draw more of it",
            "import a source of more samples",
        )
    return described
