"""The command line: ``cmdml predict``, ``cmdml export``. Results go to stdout, remarks to stderr."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None,
    help="Rank findings on chest radiographs, seen and unseen in training. Not a medical device.",
)  # fmt: skip
RUN = "a run, a training or a head; a name of data/heads; by default nih-mini, trained on real films"


def _say(sentence) -> None:
    print(f"cmdml: {sentence}", file=sys.stderr)


@app.command("predict")
def predict_command(
    films: Annotated[list[Path], typer.Argument(help="PNG, JPEG, TIFF, BMP or DICOM files, or folders of them")],
    run: Annotated[str | None, typer.Option(help=RUN)] = None,
    finding: Annotated[list[str] | None, typer.Option(help="one of your own: 'Lung abscess: opacity, round'")] = None,
    signs: Annotated[str, typer.Option(help="signs of one more, separated by commas")] = "",
    text: Annotated[list[str] | None, typer.Option(help="a sentence that describes a finding")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="everything as JSON on stdout")] = False,
    csv: Annotated[str, typer.Option(help="a row per film and finding into this file, - for stdout")] = "",
    heatmap: Annotated[Path | None, typer.Option(help="one film: write where the model looks as a PNG")] = None,
    where: Annotated[str, typer.Option(help="the finding of the heat map; by default the one that ranks first")] = "",
) -> None:
    """Score films and rank the findings. Not a medical device."""
    from cmdml import names, runs
    from cmdml.prediction import predict

    if as_json and csv == "-":
        raise typer.BadParameter("--json and --csv - both want stdout: give --csv a file")
    if heatmap and (len(films) != 1 or films[0].is_dir()):
        raise typer.BadParameter("--heatmap is of one film: name one file")
    try:
        head = runs.open_run(run)
        if run is None:
            _say(f"no --run given, so the films are scored by {head.card['name']}: {head.card['data']['title']}")
        done = predict(films, head, findings=finding or (), signs=signs, texts=text or (), progress=True)
        if where:
            alike = {name.lower().replace("_", " "): name for name in done.names}
            where = alike.get(where.lower().replace("_", " ").replace("-", " "), where)
            names.check(where, done.names, "finding")
        if heatmap and done.films:
            from cmdml.explain import write_heatmap

            what = where or done.ranked(done.films[0])[0]["finding"]
            _say(f"{write_heatmap(done, done.films[0].path, what, heatmap)}: where the score of {what} comes from")
    except (OSError, ValueError, ImportError) as error:
        _say(error)
        raise typer.Exit(2) from None
    _show(done, as_json, csv)
    for path, sentence in done.failed:
        _say(sentence if str(path) in sentence else f"{path}: {sentence}")
    if done.set_aside:
        _say(f"{done.set_aside} files of the folders are no images and were left aside")
    raise typer.Exit(1 if done.failed else 0)


def _show(done, as_json: bool, csv: str) -> None:
    from cmdml.files import write_text
    from cmdml.printing import print_predictions

    if csv and csv != "-":
        write_text(csv, done.table.to_csv(index=False))
        _say(f"{csv}: {len(done.films)} films")
    if as_json:
        print(json.dumps(done.to_dict(), indent=1, ensure_ascii=False))
    elif csv == "-":
        print(done.table.to_csv(index=False), end="")
    else:
        print_predictions(done, sys.stdout.isatty())
    if as_json or csv:
        for film in done.films:
            for warning in film.warnings:
                _say(f"{film.path}: {warning}")


@app.command("export")
def export_command(
    run: Annotated[str, typer.Argument(help=RUN)],
    out: Annotated[Path, typer.Argument(help="the file .onnx, or the folder, to write")],
    onnx: Annotated[bool, typer.Option("--onnx", help="the whole network as one ONNX file, not the folder")] = False,
) -> None:
    """Hand a run on: as a folder that predict reads, or with --onnx as one file for other programs."""
    from cmdml import runs
    from cmdml.export import copy_head, export_onnx

    try:
        head = runs.open_run(run)
        written = export_onnx(head, out) if onnx else copy_head(head, out)
    except (OSError, ValueError, ImportError) as error:
        _say(error)
        raise typer.Exit(2) from None
    files = [written] if written.is_file() else list(written.iterdir())
    print(f"{written}: {sum(file.stat().st_size for file in files) / 1e6:.2f} MB, not a medical device")


if __name__ == "__main__":
    app(prog_name="cmdml")
