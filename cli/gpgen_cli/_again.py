"""``gpgen make --from``: a deposit's dataset, made again and compared."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from gpgen_cli._errors import Interrupted
from gpgen_cli._format import count
from gpgen_cli._output import Output

if TYPE_CHECKING:
    from gpgen.making import Progress

__all__ = ["make_again"]


def make_again(output: Output, deposit: str, out: str, **options: Any) -> None:  # noqa: ANN401
    """Make the dataset of a deposit again; `options` are those of `regenerate`."""
    from gpgen.publish.regenerating import regenerate

    try:
        with output.progress("sample") as advance:

            def follow(progress: Progress) -> None:
                if advance is not None:
                    advance(progress.samples_done, progress.samples)

            dataset = regenerate(deposit, out, progress=follow, **options)
    except KeyboardInterrupt:
        again = shlex.join(["gpgen", "make", "--from", deposit, "--out", out, "--resume"])
        raise Interrupted("interrupted", f"resume with: {again}") from None
    with dataset:
        shards = dataset.manifest.layout.shards
        output.say(
            f"made {out} again: {count(len(dataset), 'sample')}, every checksum of "
            f"{count(shards, 'shard')} is the deposit's",
            f"look at it: gpgen show {shlex.quote(out)} -o sheet.png",
        )
        output.result({"path": str(dataset.path), "n": len(dataset), "shards": shards})
