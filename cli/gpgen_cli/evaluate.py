"""``gpgen evaluate``: test a trained network."""

from __future__ import annotations

from dataclasses import asdict

import click

from gpgen.formatting import count
from gpgen_cli._output import Output, details, output_options
from gpgen_cli._paths import Source

__all__ = ["command"]

_EPILOG = """\b
Examples:
  gpgen evaluate runs/backdrop/seed-0/checkpoint.pt two-scale-mini
  gpgen evaluate runs/none/seed-0/checkpoint.pt data.zarr --split validation --json"""


@click.command("evaluate", short_help="Test a trained network.", epilog=_EPILOG)
@click.argument("checkpoint", type=click.Path())
@click.argument("source", metavar="DATA_OR_RECIPE", type=Source(recipes=True))
@click.option("--split", default="test", help="Split of the data.")
@click.option(
    "--n", "-n", type=int, show_default="400, or what the data have", help="Number of images."
)
@click.option("--device", default="auto", help="auto, cpu, cuda, ...")
@output_options
def command(
    output: Output, /, checkpoint: str, source: str, split: str, n: int | None, device: str
) -> None:
    """Test a network that `gpgen train` made, as a whole and component by component."""
    from backdrop.evaluation import LengthScaleScores
    from backdrop.training import choose_device, evaluate_checkpoint

    scores = evaluate_checkpoint(checkpoint, source, split=split, n=n, device=choose_device(device))
    rows = [("images", count(scores.n))]
    if isinstance(scores, LengthScaleScores):
        rows.append(("relative error", f"{scores.relative_error:.4f}"))
        rows.append(("R^2 of log length-scale", f"{scores.r2:.4f}"))
    else:
        rows.append(("accuracy", f"{scores.accuracy:.4f}"))
    rows += [(f"component {i}", f"{value:.4f}") for i, value in enumerate(scores.components, 1)]
    output.say(details([*rows, ("loss", f"{scores.loss:.4f}")]))
    output.result({"checkpoint": checkpoint, "source": source, "split": split, **asdict(scores)})
