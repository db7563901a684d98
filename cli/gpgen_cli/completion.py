"""``gpgen completion``: the script that makes a shell complete gpgen's words."""

from __future__ import annotations

import click

__all__ = ["command"]

_EPILOG = """\b
Examples:
  gpgen completion bash > ~/.local/share/bash-completion/completions/gpgen
  gpgen completion zsh > "${fpath[1]}/_gpgen"
  gpgen completion fish > ~/.config/fish/completions/gpgen.fish"""


@click.command("completion", epilog=_EPILOG)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print the completion script for a shell."""
    from click.shell_completion import get_completion_class

    from gpgen_cli.main import cli

    script = get_completion_class(shell)
    if script is None:
        raise click.UsageError(f"click knows no completion for {shell}")
    click.echo(script(cli, {}, "gpgen", "_GPGEN_COMPLETE").source())
