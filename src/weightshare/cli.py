"""The command line: parse, call one function, print. Errors of the package end with exit code 2."""

import os
import sys
from typing import Annotated

import typer

from .errors import WeightshareError
from .views.escape import visible

app = typer.Typer(
    help="How much should the weights of a layer be shared?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback()
def _version(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and stop.", is_eager=True)
    ] = False,
) -> None:
    if version:
        from ._version import __version__

        print(__version__)
        raise typer.Exit


@app.command()
def explain(
    layer: Annotated[
        str, typer.Argument(help='A layer as torch users write it: "Conv2d(3, 96, 11, stride=4)".')
    ],
    input: Annotated[
        str | None, typer.Option(help="Input size: 3x227x227, or 227x227 without channels.")
    ] = None,
    sharing: Annotated[
        str | None, typer.Option(help="full, tiled:2, regional:4x4, lowrank:4, local, ...")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    html: Annotated[str | None, typer.Option(help="Also write the derivation as one page.")] = None,
) -> None:
    """Say where every number of a layer comes from, and what it would be under other sharings."""
    from .counting import explain as explain_layer

    explanation = explain_layer(layer, input, sharing)
    if html is not None:
        explanation.to_html(html)
    print(explanation.to_json() if as_json else explanation)


@app.command()
def summary(
    model: Annotated[
        str, typer.Argument(help="vgg16, package.module:factory, timm:NAME or torchvision:NAME.")
    ],
    input: Annotated[str | None, typer.Option(help="Shape of one example: 3x224x224.")] = None,
    weights: Annotated[
        str | None, typer.Option(help="A checkpoint to load first: safetensors, or a state dict of torch's.")
    ] = None,
    device: Annotated[
        str, typer.Option(help="Where to build the model; meta takes no memory, weights need cpu.")
    ] = "meta",
    explain: Annotated[
        str | None, typer.Option(help="Say where the number of this parameter or module comes from.")
    ] = None,
    reconcile: Annotated[int | None, typer.Option(help="Explain a count that differs.")] = None,
    heading: Annotated[str, typer.Option(help='Head of the counts: "Param #" as in Keras.')] = "parameters",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown.")] = False,
) -> None:
    """Say where every parameter of a model comes from, who shares it, and what sharing saves."""
    from .ledger import summary as summarise
    from .models.find import find_model, shape_of
    from .models.weights import load_weights

    _import_from_here()
    found = find_model(model, device="cpu" if weights is not None and device == "meta" else device)
    if weights is not None:
        load_weights(found, weights)
    answer = summarise(found, input_shape=shape_of(model) if input is None else input)
    if as_json:
        text = answer.to_json()
    elif explain is not None:
        text = answer.explain(explain)
    elif reconcile is not None:
        text = str(answer.reconcile(reconcile))
    else:
        text = answer.to_markdown(heading) if as_markdown else answer.to_text(heading)
    print("\n".join(map(visible, text.split("\n"))))  # names and errors come from outside


@app.command()
def ties(
    model: Annotated[
        str, typer.Argument(help="vgg16, package.module:factory, timm:NAME or torchvision:NAME.")
    ],
    weights: Annotated[str | None, typer.Option(help="A checkpoint to load first, as of summary.")] = None,
) -> None:
    """Print which weights of a model are tied, and whether the ties hold; exit code 1 where one is broken."""
    from .models.find import find_model
    from .models.weights import load_weights
    from .tying import check_tied_weights, find_tied_weights

    _import_from_here()
    found = find_model(model, device="meta" if weights is None else "cpu")
    if weights is not None:
        load_weights(found, weights)
    report = check_tied_weights(found)
    print("\n".join(map(visible, str(report).split("\n"))))
    known = {alias for alias, _ in report.intact}
    for tie in find_tied_weights(found):
        if tie.alias not in known:
            print(visible(f"  found   {tie.alias} = {tie.source}: {tie.kind.replace('_', ' ')}"))
    raise typer.Exit(0 if report.ok else 1)


@app.command()
def equivariance(
    model: Annotated[
        str, typer.Argument(help="vgg16, package.module:factory, timm:NAME or torchvision:NAME.")
    ],
    input: Annotated[str | None, typer.Option(help="Shape of one example: 3x224x224.")] = None,
    weights: Annotated[str | None, typer.Option(help="A checkpoint to load first, as of summary.")] = None,
    shift: Annotated[
        list[str] | None, typer.Option(help="In pixels, 1 or 0x3; the first is traced, the others measured.")
    ] = None,
    interventions: Annotated[
        bool, typer.Option(help="Change each cause and measure the output again.")
    ] = True,
    seed: Annotated[int, typer.Option(help="Of the random input, and of random weights.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Say which operation of a model loses a shift of its input, for which shifts it is exact, and why."""
    from .models.find import shape_of
    from .symmetry.command import answer

    _import_from_here()
    text = answer(model, weights, input or shape_of(model), shift or ["1"], interventions, seed, as_json)
    print("\n".join(map(visible, text.split("\n"))))


@app.command()
def study(
    data: Annotated[str, typer.Argument(help="digits, faces, npz:FILE or folder:DIR.")],
    sharing: Annotated[
        str, typer.Option(help="The sharings to compare, with commas.")
    ] = "full,tiled:2,regional:4,lowrank:4,local",
    seeds: Annotated[int, typer.Option(help="Times that every network is trained.")] = 3,
    out: Annotated[str | None, typer.Option(help="Folder for the results and the report.")] = None,
    train_images: Annotated[int | None, typer.Option(help="Use so many training images only.")] = None,
    width: Annotated[int, typer.Option(help="Channels of each convolution.")] = 16,
    epochs_max: Annotated[int, typer.Option(help="Cap on the passes over the training images.")] = 100,
    patience: Annotated[int, typer.Option(help="Epochs without a gain before the step size is cut.")] = 6,
    batch_size: Annotated[int, typer.Option(help="Images a step.")] = 64,
    learning_rate: Annotated[float, typer.Option(help="Adam's first step size.")] = 3e-3,
    accelerator: Annotated[str, typer.Option(help="As Lightning Fabric: cpu, cuda, mps, auto.")] = "auto",
    devices: Annotated[str, typer.Option(help="As Lightning Fabric: how many, or which.")] = "1",
    strategy: Annotated[str, typer.Option(help="As Lightning Fabric: auto, ddp, ...")] = "auto",
    precision: Annotated[str, typer.Option(help="As Lightning Fabric: 32-true, bf16-mixed, ...")] = "32-true",
) -> None:
    """Train one small network with each degree of sharing: what does sharing buy and cost on these data?

    The same command run again continues where it stopped.
    """
    from dataclasses import replace

    from .study import StudySpec
    from .study.command import default_folder
    from .study.command import study as run_study

    spec = StudySpec(
        data=data,
        sharings=sharing,
        seeds=seeds,
        out=out,
        train_images=train_images,
        width=width,
        epochs_max=epochs_max,
        patience=patience,
        batch_size=batch_size,
        learning_rate=learning_rate,
        accelerator=accelerator,
        devices=devices,
        strategy=strategy,
        precision=precision,
    )
    raise typer.Exit(run_study(spec if out is not None else replace(spec, out=default_folder(spec))))


def _import_from_here() -> None:
    """Have `package.module:factory` found in the current folder, as `python -m` does."""
    sys.path.insert(0, os.getcwd())


def main() -> None:
    """Run the command line; an error of the package is one line on standard error and exit code 2."""
    try:
        app()
    except WeightshareError as error:
        print(f"weightshare: {visible(str(error))}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
