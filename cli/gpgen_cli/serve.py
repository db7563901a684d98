"""``gpgen serve``: a dataset over HTTP that nobody has stored."""

from __future__ import annotations

from typing import Any

import click

from gpgen.formatting import count, nbytes
from gpgen_cli._output import Output, output_options
from gpgen_cli._paths import Source
from gpgen_cli._recipe_options import chunk_options

__all__ = ["address_options", "command"]

_EPILOG = """\b
Examples:
  gpgen serve two-scale --n 10000
  gpgen serve recipe.toml --n 250000 --port 8080
  gpgen serve deposit"""


def address_options(verb: Any) -> Any:  # noqa: ANN401 - any verb
    """Add ``--host`` and ``--port``."""
    host = click.option(
        "--host", default="127.0.0.1", help="Address to listen on; 0.0.0.0 is reached by others."
    )
    return host(
        click.option("--port", type=int, default=8000, help="Port; 0 takes a free one.")(verb)
    )


@click.command("serve", short_help="Serve a recipe as a Zarr dataset.", epilog=_EPILOG)
@click.argument("source", metavar="RECIPE|DEPOSIT", type=Source(recipes=True))
@click.option("--n", "-n", type=int, show_default="10000", help="Number of samples of a recipe.")
@chunk_options
@address_options
@output_options
def command(
    output: Output,
    /,
    source: str,
    n: int | None,
    chunk_size: int | None,
    shard_size: int | None,
    host: str,
    port: int,
) -> None:
    """Serve a dataset over HTTP; an image is drawn when its chunk is asked for.

    Zarr clients of any language read it. Of a deposit it is the dataset itself, byte for byte.
    It ends at Ctrl-C.
    """
    from gpgen.serving import serve
    from gpgen.serving.app import application
    from gpgen.serving.server import address, listening
    from gpgen.virtual_store.drawing_processes import drawn_by_processes
    from gpgen.virtual_store.opening import keys_of

    keys = keys_of(source, n, chunk_size=chunk_size, shard_size=shard_size)
    found = listening(host, port)
    url = f"{address(found)}/data.zarr"
    size = nbytes(keys.layout.n * keys.recipe.image_nbytes)

    def started() -> None:
        state = "sealed: the deposit's own bytes" if keys.checksums else "virtual and unsealed"
        output.say(
            f"{keys.recipe.name}: {count(keys.layout.n, 'sample')}, {size}, {state}",
            f"{url}   (a page: {address(found)}; end with Ctrl-C)",
            f'  xarray.open_zarr("{url}", chunks=None)',
        )
        output.result({"url": url, "n": keys.layout.n, "identity": keys.identity})

    with drawn_by_processes(keys):
        serve(application(lambda: keys), found, started=started)
