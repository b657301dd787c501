"""The commands `norm list` and `norm check`."""

from pathlib import Path

import click

from gan.cli.app import device_option, main, overwrite_option
from gan.cli.completion import complete_names
from gan.config import plugins
from gan.config.choices import NORMS
from gan.errors import UsageError, UserError
from gan.utils.files import require_new_in_folder, write_json


@main.group()
def norm() -> None:
    """List the discriminator normalizations, and check the properties of one."""


@norm.command("list")
def list_norms() -> None:
    """List all names of --norm: kind, options, parameters, folding, statistics over the batch, source.

    "parameters per layer" are those added to a hidden layer with a bias. "folds": merged into plain layers for
    inference. "uses the batch": in training, the output for an image depends on the other images of its batch.
    """
    from gan.config.norm_facts import HEADER, NOTE, norm_rows
    from gan.utils.markdown_table import markdown_table

    click.echo(f"{markdown_table(HEADER, norm_rows(), pad=True)}\n\n{NOTE}")


@norm.command("check")
@click.argument("spec", shell_complete=complete_names(NORMS))
@click.option("--json", "path", type=click.Path(dir_okay=False, path_type=Path), help="Write the results here too.")
@overwrite_option
@device_option
def check(spec: str, path: Path | None, overwrite: bool, device: str) -> None:
    """Check the properties of SPEC, a value of --norm: names joined by +, or your own code as file.py:name.

    Checks on small layers and networks that the raw weights are those of `none`; that outputs, gradients and second
    derivatives are right in training and in evaluation; that the layer can be saved, copied and folded; precisions and
    devices; and measures operator norms and the time of a step. Exits with 1 if a property does not hold.

    \b
    Examples: msn-gan norm check sn+mean
              msn-gan norm check my_norm.py:soft --json check.json
    """
    if path:
        require_new_in_folder(path, "--json", overwrite=overwrite)
    if problem := NORMS.problem(spec):
        raise UsageError(f"SPEC {spec}: {problem}")
    plugins.allow(NORMS.references(spec))  # named by the user

    from gan.norm_check import report, runner
    from gan.runtime import resolve_device

    place = resolve_device(device)
    results = runner.check_norm(spec, place)
    click.echo(report.check_table(results))
    if path:
        write_json(path, report.check_record(spec, place, results))
    if failed := report.failed_names(results):
        raise UserError(f"SPEC {spec}: does not hold: {'; '.join(failed)}")
