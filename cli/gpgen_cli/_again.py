"""Doing something again: an interrupted command, or the making of a deposit's dataset."""

from __future__ import annotations

import shlex
from typing import Any

from gpgen.formatting import count
from gpgen_cli._errors import Interrupted
from gpgen_cli._output import Output

__all__ = ["how_to_go_on", "make_again"]


def how_to_go_on(arguments: list[str], out: str) -> str:
    """Return a hint with the command that goes on where an interrupted one stopped.

    Parameters
    ----------
    arguments
        Those of the command.
    out
        Its target.
    """
    from gpgen.workspace.unfinished import is_begun

    if "--overwrite" in arguments and not is_begun(out):
        # Resuming would find the old dataset, and take it for the finished one.
        return f"start again with: {shlex.join(['gpgen', *arguments])}"
    again = [word for word in arguments if word not in ("--overwrite", "--resume")]
    return f"resume with: {shlex.join(['gpgen', *again, '--resume'])}"


def make_again(
    output: Output,
    arguments: list[str],
    deposit: str,
    out: str,
    **options: Any,  # noqa: ANN401
) -> None:
    """Make the dataset of a deposit again; `options` are those of `regenerate`."""
    from gpgen.publish.regenerating import regenerate

    try:
        dataset = regenerate(deposit, out, progress=output.progress, **options)
    except KeyboardInterrupt:
        raise Interrupted("interrupted", how_to_go_on(arguments, out)) from None
    with dataset:
        shards = dataset.manifest.layout.shards
        output.say(
            f"made {out} again: {count(len(dataset), 'sample')}, every checksum of "
            f"{count(shards, 'shard')} is the deposit's",
            f"look at it: gpgen show {shlex.quote(out)} -o sheet.png",
        )
        output.result({"path": str(dataset.path), "n": len(dataset), "shards": shards})
