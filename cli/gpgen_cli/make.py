"""``gpgen make``: make a dataset."""

from __future__ import annotations

import dataclasses
import shlex
import time
from typing import TYPE_CHECKING, Any

import click

from gpgen.formatting import count, duration, nbytes, rate
from gpgen_cli._again import how_to_go_on, make_again
from gpgen_cli._describe import plan_rows
from gpgen_cli._errors import Interrupted
from gpgen_cli._output import Output, details, output_options
from gpgen_cli._paths import Source
from gpgen_cli._recipe_options import chunk_options, override, recipe_options

if TYPE_CHECKING:
    from gpgen.making.run import Plan
    from gpgen.progress import Progress
    from gpgen.recipe import Recipe

__all__ = ["command"]

_EPILOG = """\b
Examples:
  gpgen make --n 10000 --out data.zarr
  gpgen make --recipe two-scale-mini --n 400 --out mini.h5
  gpgen make --recipe two-scale-mini --size 128 --seed 7 --n 1000 --out small.zarr
  gpgen make --n 10000 --out data.zarr --resume
  gpgen make --n 20000 --out data.zarr --extend
  gpgen make --n 40000 --out more.zarr --reuse data.zarr
  gpgen make --from deposit --out data.zarr
  gpgen make --n 10000 --out 'data-{shard:05d}.h5' --dry-run
  gpgen make --n 10000 --out data.zarr --scheduler tcp://head:8786"""


@click.command("make", short_help="Make a dataset.", epilog=_EPILOG)
@click.option("--n", "-n", type=int, help="Number of samples.")
@click.option(
    "--from",
    "deposit",
    type=Source(),
    help="Instead of a recipe: a deposit, whose checksums are compared.",
)
@click.option(
    "--out",
    "-o",
    type=click.Path(),
    required=True,
    help="Target: data.zarr, data.h5, 'data-{shard:05d}.h5' for one file a shard, or "
    "s3://bucket/data.zarr.",
)
@recipe_options
@click.option("--workers", type=int, show_default="all cores", help="How many work at once.")
@click.option(
    "--processes/--threads",
    default=None,
    show_default="threads",
    help="Workers as processes or as threads of this one.",
)
@click.option(
    "--scheduler",
    metavar="ADDRESS",
    help="Use the Dask cluster at this address, or of this scheduler file (*.json).",
)
@click.option("--tls-ca-file", type=click.Path(), help="Certificate of a cluster's authority.")
@click.option("--tls-cert", type=click.Path(), help="Your certificate for that cluster.")
@click.option("--tls-key", type=click.Path(), help="The key of your certificate.")
@click.option("--resume", is_flag=True, help="Go on with an interrupted run.")
@click.option("--overwrite", is_flag=True, help="Replace what is at the target.")
@click.option("--extend", is_flag=True, help="Take over what is at the target, and draw the rest.")
@click.option(
    "--reuse",
    metavar="DATASET",
    type=Source(),
    help="Take over the samples of a smaller dataset, and draw the rest.",
)
@chunk_options
@click.option("--dry-run", is_flag=True, help="Say what would be made, and stop.")
@output_options
@click.pass_context
def command(
    ctx: click.Context,
    output: Output,
    /,
    n: int | None,
    deposit: str | None,
    out: str,
    source: str,
    size: tuple[int, ...] | None,
    seed: int | None,
    dtype: str | None,
    boundary: str | None,
    standardize: bool | None,
    workers: int | None,
    processes: bool | None,
    scheduler: str | None,
    tls_ca_file: str | None,
    tls_cert: str | None,
    tls_key: str | None,
    resume: bool,
    overwrite: bool,
    extend: bool,
    reuse: str | None,
    chunk_size: int | None,
    shard_size: int | None,
    dry_run: bool,
) -> None:
    """Make a dataset of N samples, in parallel, to Zarr or HDF5.

    What is made depends on the recipe and the seed alone: the same bytes on any
    machine, with any number of workers, after any interruption. With --extend or
    --reuse the recipe is that of the dataset taken over, as are its sizes of
    chunks and shards, unless they are given.
    """
    security = _security(tls_ca_file, tls_cert, tls_key)
    cluster: dict[str, Any] = {"scheduler": scheduler, "security": security, "processes": processes}
    if deposit is not None:
        _refuse_beside_deposit(ctx)
        options = {"resume": resume, "overwrite": overwrite, "workers": workers, **cluster}
        make_again(output, ctx.obj, deposit, out, **options)
        return
    if n is None:
        raise click.UsageError("missing option '--n' / '-n'", ctx)
    import gpgen
    from gpgen.errors import DatasetWarning
    from gpgen.progress import following

    start: Any = source
    if extend or reuse is not None:
        start = _recipe_to_go_on_with(ctx, out, extend, reuse) or source
    recipe = override(
        start, size, seed=seed, dtype=dtype, boundary=boundary, standardize=standardize
    )
    sizes: dict[str, Any] = {"workers": workers, "chunk_size": chunk_size, "shard_size": shard_size}
    sizes |= {"extend": extend, "reuse": reuse}
    plan = gpgen.plan(recipe, n, out, **sizes)
    kind = "process" if processes else "thread"
    if dry_run:
        _dry_run(output, plan, kind, scheduler)
        return
    output.say(details(plan_rows(plan, kind, scheduler)))
    last: list[Progress] = []
    try:
        with output.telling(DatasetWarning), following(output.progress) as bar:

            def follow(progress: Progress) -> None:
                last[:] = [progress]
                bar(progress)

            started = time.perf_counter()
            dataset = gpgen.make(
                recipe,
                n,
                out,
                resume=resume,
                overwrite=overwrite,
                progress=follow,
                **cluster,
                **sizes,
            )
            seconds = time.perf_counter() - started
    except KeyboardInterrupt:
        raise Interrupted(_what_is_safe(last, out), how_to_go_on(ctx.obj, out)) from None
    with dataset:
        path = str(dataset.path)
    output.say(
        _summary(out, plan, seconds, last),
        f"look at it: gpgen show {shlex.quote(out)} -o sheet.png",
    )
    output.result({"dry_run": False, **_describe(plan), "path": path, "seconds": seconds})


def _dry_run(output: Output, plan: Plan, kind: str, scheduler: str | None) -> None:
    """Say what would be made, and whether it makes a benchmark."""
    if output.quiet:
        return
    from gpgen.observer.worth import worth_of

    worth = worth_of(plan.recipe, progress=output.progress)
    plan = dataclasses.replace(plan, warnings=plan.warnings + worth.warnings)
    rows = plan_rows(plan, kind, scheduler)
    if worth.unknown:
        rows.append(("difficulty", f"not known: {worth.unknown}"))
    output.say(details(rows))
    unknown = {"difficulty_unknown": worth.unknown or None}
    output.result({"dry_run": True, **_describe(plan), **unknown})


def _security(
    ca_file: str | None, certificate: str | None, key: str | None
) -> dict[str, Any] | None:
    """Return what Dask calls the certificates that are given, if any are."""
    files = {"tls_ca_file": ca_file, "tls_client_cert": certificate, "tls_client_key": key}
    return {**files, "require_encryption": True} if any(files.values()) else None


def _refuse_beside_deposit(ctx: click.Context) -> None:
    """Refuse options whose values the deposit gives."""
    for name in (
        "n", "source", "size", "seed", "dtype", "boundary", "standardize",
        "chunk_size", "shard_size", "dry_run", "extend", "reuse",
    ):  # fmt: skip
        if ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE:
            option = next(p.opts[0] for p in ctx.command.params if p.name == name)
            raise click.UsageError(f"{option} can't be changed with --from", ctx)


def _recipe_to_go_on_with(
    ctx: click.Context, out: str, extend: bool, reuse: str | None
) -> Recipe | None:
    """Return the recipe of the dataset that is taken over, unless another is asked for."""
    from gpgen.making.growing import recipe_to_go_on_with

    if ctx.get_parameter_source("source") is click.core.ParameterSource.COMMANDLINE:
        return None
    return recipe_to_go_on_with(out, extend=extend, reuse=reuse)


def _summary(path: str, plan: Plan, seconds: float, last: list[Progress]) -> str:
    n = plan.n
    whole = f"{path}: {count(n, 'sample')}, {nbytes(plan.nbytes)}"
    if not last:
        return f"{whole}; it was finished already"
    if plan.reused:
        return f"made {whole}, in {duration(seconds)}; {plan.reused:,} of them were there before"
    made = n - last[0].resumed
    text = f"made {whole}, in {duration(seconds)} ({rate(made / seconds)})"
    return text if made == n else f"{text}; {n - made:,} were there already"


def _describe(plan: Plan) -> dict[str, Any]:
    return {
        "out": str(plan.out),
        "format": plan.format,
        "n": plan.n,
        "recipe": plan.recipe.to_dict(),
        "recipe_sha256": plan.recipe.sha256,
        "classes": list(plan.recipe.classes),
        "shards": plan.shards,
        "shard_size": plan.shard_size,
        "chunk_size": plan.chunk_size,
        "nbytes": plan.nbytes,
        "free_bytes": plan.free_bytes,
        "workers": plan.workers,
        "memory_per_worker": plan.memory_per_worker,
        "warnings": list(plan.warnings),
        "reused": plan.reused,
    }


def _what_is_safe(last: list[Progress], out: str) -> str:
    from gpgen.workspace.unfinished import is_begun

    if not last:
        return "interrupted before the first shard was finished"
    done, total = last[0].done, last[0].total
    if done < total and not is_begun(out):
        if out.endswith(".tar"):  # an export
            return "interrupted; nothing is kept"
        done = total  # it was finished while it was being stopped
    return f"interrupted; {done:,} of {count(total, 'sample')} are safe"
