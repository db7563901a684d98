"""``gpgen explore``: a page about a recipe under design."""

from __future__ import annotations

import os
import webbrowser

import click

from gpgen_cli._output import Output, output_options
from gpgen_cli._paths import Source
from gpgen_cli.serve import address_options

__all__ = ["command"]

_EPILOG = """\b
Examples:
  gpgen explore two-scale-mini
  gpgen explore recipe.toml --port 0
  gpgen explore recipe.toml --no-browser"""


@click.command("explore", short_help="Look at a recipe under design.", epilog=_EPILOG)
@click.argument("recipe", metavar="RECIPE|DEPOSIT", type=Source(recipes=True))
@click.option("--n", "-n", type=int, show_default="10000", help="Number of samples of a recipe.")
@click.option("--browser/--no-browser", default=True, help="Open the page.")
@address_options
@output_options
def command(
    output: Output, /, recipe: str, n: int | None, browser: bool, host: str, port: int
) -> None:
    """Open a page with samples, their spectra and how hard they are to tell apart.

    The page follows the recipe's file as it is edited. The dataset can be read meanwhile, as from
    'gpgen serve', at the address that the page names; that of another state of the file is refused.
    It ends at Ctrl-C.
    """
    from gpgen.serving import serve
    from gpgen.serving.app import application
    from gpgen.serving.design import Design
    from gpgen.serving.server import address, listening
    from gpgen.virtual_store.opening import keys_of

    changing = os.path.isfile(recipe)  # noqa: PTH113 - a name of any kind
    design = Design(recipe, lambda: keys_of(recipe, n))
    found = listening(host, port)
    url = address(found)

    def started() -> None:
        output.say(f"{url}   (end with Ctrl-C)")
        output.result({"url": url})
        if browser:
            webbrowser.open(url)

    serve(application(design, changing=changing), found, started=started)
