"""The command line: flags to verbs. Nothing heavy is imported until a verb runs."""

from __future__ import annotations

import contextlib
import os
import shlex
import tempfile
import traceback
from pathlib import Path
from typing import Annotated, Any

import typer

from earnest.core import interrupts
from earnest.core.errors import Interrupted, OptionError, UsageError

USED, OURS, STOPPED = 2, 1, 130
"""Exit codes: the input cannot be used; a fault of ours; Ctrl-C or SIGTERM."""

app = typer.Typer(
    name="earnest",
    help="Deep learning, in earnest: give it data and a question, get a model you can trust.\n\n"
    "**Examples**\n\n"
    "- `earnest fit digits` — a first try, on handwritten digits that come along\n"
    "- `earnest fit photos/` — your pictures, a folder a class\n"
    "- `earnest fit table.csv --target COLUMN` — your table, and the column to predict\n"
    "- `earnest predict runs/photos new_photos/` — answers for new data\n\n"
    "`earnest VERB --help` tells more of each.",
    epilog="Exit codes: 0 done; 2 your input cannot be used, and the message says why; 1 a fault of ours; 130 stopped.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
cache = typer.Typer(
    help="Decoded images and features, kept so that the next run on the same data starts sooner. Safe to delete.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)
app.add_typer(cache, name="cache")

Quiet = Annotated[bool, typer.Option("--quiet", "-q", metavar="", help="Say nothing but errors.")]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder, such as runs/photos.")]
QUESTION, DATA, TRAINING, RUN = "The question", "The data", "The training", "The run"
"""Headings of the options of `fit`."""


@app.command()
def fit(
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help="A folder of images, a table, tagged sentences, an archive or arrays; or the word `digits`.",
        ),
    ],
    target: Annotated[
        str | None, typer.Option(metavar="COL", rich_help_panel=QUESTION, help="The column to predict.")
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            rich_help_panel=QUESTION,
            help="For running text: language-model, to go on with it; masked-language-model, to pretrain an encoder; "
            "word-vectors, to learn what its words mean. For images: generate, to make more.",
        ),
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            rich_help_panel=QUESTION,
            help="What to choose by: accuracy, balanced_accuracy, f1_macro, log_loss, roc_auc; rmse, mae, r2.  "
            "[default: accuracy or rmse]",
        ),
    ] = None,
    judge: Annotated[
        str | None,
        typer.Option(
            metavar="RUN|WEIGHTS|pixels",
            rich_help_panel=QUESTION,
            help="Whose features made images are judged by.  [default: a classifier trained first]",
        ),
    ] = None,
    test: Annotated[
        str | None,
        typer.Option(
            metavar="PATH",
            rich_help_panel=DATA,
            help="Data for the last look; for word vectors, pairs of words to judge by.  [default: a fifth of DATA]",
        ),
    ] = None,
    unlabeled: Annotated[
        str | None,
        typer.Option(
            metavar="PATH", rich_help_panel=DATA, help="More rows, without an answer, where few have one: for classes."
        ),
    ] = None,
    types: Annotated[
        list[str] | None,
        typer.Option(
            "--type",
            metavar="COL=KIND",
            rich_help_panel=DATA,
            help="What a column holds: number, category, date, text, image, or id to set it aside. May be given again.",
        ),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            metavar="random|group|time|COL",
            rich_help_panel=DATA,
            help="How rows are set aside; a column of yours says train, validation or test.  [default: random]",
        ),
    ] = None,
    group: Annotated[
        str | None,
        typer.Option(
            metavar="COL", rich_help_panel=DATA, help="Rows alike in COL (a patient's, a household's) stay together."
        ),
    ] = None,
    time: Annotated[
        str | None, typer.Option(metavar="COL", rich_help_panel=DATA, help="Train on the past, test on the future.")
    ] = None,
    yes: Annotated[
        bool,
        typer.Option(
            "--yes", "-y", metavar="", rich_help_panel=DATA, help="Go on though over 5% of the rows cannot be used."
        ),
    ] = False,
    minutes: Annotated[
        float | None,
        typer.Option(rich_help_panel=TRAINING, help="Hard limit for everything, report included."),
    ] = None,
    epochs: Annotated[int | None, typer.Option(rich_help_panel=TRAINING, help="Passes over the training rows.")] = None,
    model: Annotated[
        str | None,
        typer.Option(metavar="NAME", rich_help_panel=TRAINING, help="A network of `earnest zoo`, such as resnet18."),
    ] = None,
    from_scratch: Annotated[
        bool, typer.Option("--from-scratch", metavar="", rich_help_panel=TRAINING, help="Use no pretrained weights.")
    ] = False,
    start_from: Annotated[
        Path | None,
        typer.Option(metavar="RUN", rich_help_panel=TRAINING, help="An encoder pretrained here, for texts."),
    ] = None,
    recipe: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", rich_help_panel=TRAINING, help="Hyperparameters, such as another run's recipe.toml."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(rich_help_panel=TRAINING, help="The same seed, the same run.")] = 0,
    device: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", rich_help_panel=TRAINING, help="cpu, cuda, cuda:1 or mps.  [default: a GPU if there is one]"
        ),
    ] = None,
    offline: Annotated[
        bool, typer.Option("--offline", metavar="", rich_help_panel=TRAINING, help="Fetch no weights from the network.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", rich_help_panel=RUN, help="Where the run goes.  [default: runs/NAME]"),
    ] = None,
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", metavar="", rich_help_panel=RUN, help="Replace the run folder that --out names."),
    ] = False,
    no_examples: Annotated[
        bool,
        typer.Option(
            "--no-examples", metavar="", rich_help_panel=RUN, help="Keep your rows and pictures out of the report."
        ),
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", metavar="", rich_help_panel=RUN, help="Say nothing but errors.")
    ] = False,
) -> None:
    """Look at the data, train, evaluate, and report.

    It leaves a run folder: report.html to read, model/ to ship, and everything needed to go on after a crash.

    **Examples**

    - `earnest fit digits` — the handwritten digits that come along, in a minute or two
    - `earnest fit photos/` — a folder a class, or train/ and test/ folders of them
    - `earnest fit adult.csv --target income --test adult-test.csv --minutes 10`
    - `earnest fit visits.csv --target readmitted --group patient --type ward=category`
    - `earnest fit sales.csv --target revenue --time date --metric mae`
    - `earnest fit train.conll` — sentences whose words are tagged: names, phrases
    - `earnest fit shakespeare.txt --task language-model` — then `earnest generate runs/shakespeare`
    - `earnest fit corpus.txt --task word-vectors` — then `earnest similar runs/corpus WORD`
    - `earnest fit images/ --task generate` — then `earnest generate runs/images --n 64 --out samples/`
    - `earnest fit few.csv --target label --unlabeled more.csv` — few rows have an answer, many have none
    """
    from earnest.api.fit import fit as verb

    run = verb(
        data,
        target=target,
        task=task,
        test=test,
        unlabeled=unlabeled,
        judge=judge,
        out=out,
        overwrite=overwrite,
        seed=seed,
        minutes=minutes,
        epochs=epochs,
        model=model,
        from_scratch=from_scratch,
        start_from=start_from,
        metric=metric,
        types=_pairs(types or []),
        split=split,
        group=group,
        time=time,
        recipe=recipe,
        device=device,
        offline=offline,
        yes=yes,
        examples=not no_examples,
        quiet=quiet,
    )
    _show(run, quiet)


@app.command()
def resume(run: RunFolder, quiet: Quiet = False) -> None:
    """Go on where a run stopped, with the options that it began with.

    A run that is finished is left as it is.

    **Example**

    - `earnest resume runs/photos` — after Ctrl-C, a crash or a power cut
    """
    from earnest.api.resume import resume as verb
    from earnest.core.run import Run

    if Run.open(run).finished():
        if not quiet:
            typer.echo(f"{run} is finished; its report is {run / 'report.html'}")
        return
    _show(verb(run, quiet=quiet), quiet)


@app.command()
def predict(
    run: RunFolder,
    data: Annotated[str, typer.Argument(metavar="DATA", help="New data: a folder, a table, a text, or one file.")],
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Where predictions go, .csv or .parquet.  [default: the terminal, as CSV]"),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", metavar="", help="Replace the file that --out names.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Answers for new data, with confidence.

    A line a row or image: row, prediction, confidence, the probability p(CLASS) of each class, and name, its file or
    line. Of sentences, a line a word: row, token, tag, confidence, and name.

    **Examples**

    - `earnest predict runs/photos new_photos/ --out predictions.csv`
    - `earnest predict runs/photos new_photos/cat.jpg` — one image
    - `earnest predict runs/adult people.csv` — columns as in training, in any order; the target is not needed
    """
    from earnest.api.predict import check_out, write_predictions
    from earnest.api.predict import predict as verb

    if out is not None:
        check_out(out, overwrite=overwrite)
    frame = verb(run, data, quiet=quiet)
    if out is None:
        typer.echo(frame.write_csv(), nl=False)
    else:
        write_predictions(frame, out)
        if not quiet:
            typer.echo(f"{len(frame)} predictions in {out}", err=True)


@app.command()
def generate(
    run: RunFolder,
    prompt: Annotated[
        str | None, typer.Option(metavar="TEXT", help="What it goes on from.  [default: a new line]")
    ] = None,
    tokens: Annotated[int, typer.Option(help="How much: characters or pieces of words, as it has learned.")] = 500,
    temperature: Annotated[
        float, typer.Option(help="Below 1 more sure, above 1 more wild; 0 always takes the likeliest.")
    ] = 1.0,
    top_k: Annotated[
        int | None, typer.Option(metavar="N", help="Draw from the N likeliest only.  [default: all]")
    ] = None,
    top_p: Annotated[
        float | None,
        typer.Option(metavar="SHARE", help="Draw from the likeliest that have this probability together."),
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed, the same text or pictures.")] = 0,
    num: Annotated[
        int | None,
        typer.Option("--num", "--n", help="How many texts, of the seed and those after it, or pictures."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Where pictures go.  [default: samples in the run folder]")
    ] = None,
    truncation: Annotated[
        float | None, typer.Option(metavar="X", help="Of pictures: below 1 tamer and less varied.")
    ] = None,
    interpolate: Annotated[
        int | None, typer.Option(metavar="STEPS", help="Of pictures: a way from each to the next.")
    ] = None,
    label: Annotated[
        str | None, typer.Option("--class", metavar="LABEL", help="Of pictures: the class to make.  [default: all]")
    ] = None,
) -> None:
    """Text from a language model, as it is made; or pictures, as files.

    **Examples**

    - `earnest generate runs/shakespeare --prompt "ROMEO:"`
    - `earnest generate runs/shakespeare --temperature 0.7 --top-p 0.95 --num 3`
    - `earnest generate runs/images --n 64 --out samples/`
    - `earnest generate runs/images --class cat --truncation 0.7`
    """
    from earnest.api.generate import makes_pictures, stream

    if makes_pictures(run):
        from earnest.api.generate_pictures import NUM, generate_pictures

        folder = out or run / "samples" / "made"
        made = generate_pictures(
            run,
            num=NUM if num is None else num,
            out=folder,
            seed=seed,
            truncation=truncation,
            interpolate=interpolate,
            label=label,
        )
        typer.echo(f"{len(made)} pictures in {folder}, side by side in {folder / 'grid.png'}")
        return
    for number in range(1 if num is None else num):
        pieces = stream(
            run,
            prompt=prompt,
            num_tokens=tokens,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            seed=seed + number,
        )
        if number:
            typer.echo("\n---")
        typer.echo(prompt or "", nl=False)
        for piece in pieces:
            typer.echo(piece, nl=False)
        typer.echo()


@app.command()
def similar(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="A run on words, or a file in word2vec's formats, text or .bin.")
    ],
    words: Annotated[
        list[str] | None, typer.Argument(metavar="WORD...", help="What to be near to.", show_default=False)
    ] = None,
    plus: Annotated[list[str] | None, typer.Option(metavar="WORD", help="More of it. May be given again.")] = None,
    minus: Annotated[
        list[str] | None, typer.Option(metavar="WORD", help="What to be far from. May be given again.")
    ] = None,
    num: Annotated[int, typer.Option(help="How many words.")] = 10,
    multiply: Annotated[
        bool, typer.Option("--multiply", metavar="", help="Combine by products (3CosMul), not sums (3CosAdd).")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write all vectors there, for other programs: .bin is binary, else text."),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", metavar="", help="Replace the file that --out names.")
    ] = False,
) -> None:
    """The nearest words to a word, analogies, and vectors for other programs.

    **Examples**

    - `earnest similar runs/corpus king`
    - `earnest similar runs/corpus king --minus man --plus woman` — what is to king as woman is to man?
    - `earnest similar runs/corpus --out vectors.bin` — for gensim and the like
    - `earnest similar vectors.bin king` — vectors that another program made
    """
    from earnest.api.similar import similar as verb
    from earnest.api.similar import write_vectors

    near = [*(words or []), *(plus or [])]
    if not near and out is None:
        raise OptionError("name a word, such as: earnest similar RUN king")
    if out is not None:
        typer.echo(f"{write_vectors(run, out, overwrite=overwrite):,} vectors in {out}", err=True)
    if near:
        for word, score in verb(run, near, minus=minus or [], num=num, multiply=multiply).iter_rows():
            typer.echo(f"{word}\t{score:.4f}")


@app.command()
def report(run: RunFolder) -> None:
    """Draw a run's report.html and card.md again, and say where the page is.

    It needs nothing but the run folder: not the data, not the network. A run that is not finished has a report too.

    **Example**

    - `earnest report runs/photos`
    """
    from earnest.api.report import report as verb

    typer.echo(verb(run))


@app.command()
def zoo(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="A network, such as resnet50.")] = None,
) -> None:
    """List the networks, or tell about one.

    **Examples**

    - `earnest zoo` — all of them
    - `earnest zoo resnet50` — paper, year, size, and what was reproduced
    - `earnest fit photos/ --model resnet18` — train one
    """
    from earnest.api.zoo import show

    show(name)


@cache.command("info")
def cache_info() -> None:
    """Where the cache is and how large.

    EARNEST_CACHE in the environment puts it elsewhere.

    **Example**

    - `earnest cache info`
    """
    from earnest.api.cache import info

    typer.echo(info())


@cache.command("clear")
def cache_clear() -> None:
    """Delete it; later runs make it again.

    **Example**

    - `earnest cache clear`
    """
    from earnest.api.cache import clear

    typer.echo(clear())


def main() -> None:
    """Run the command line and end with its exit code."""
    try:
        with interrupts.raising():
            code = app(standalone_mode=False)
        if code == STOPPED:  # how newer versions of Typer tell of a KeyboardInterrupt, and older ones by Abort
            raise KeyboardInterrupt
    except UsageError as error:
        _say(str(error))
        code = USED
    except (Interrupted, KeyboardInterrupt, typer.Abort) as error:
        _say(f"{str(error).rstrip('.') or 'stopped'}{_how_to_go_on()}")
        code = STOPPED
    except Exception as error:  # the boundary: what is left is Typer's complaint, or a fault of ours
        code = _end_of(error)
    raise SystemExit(code or 0)


def _end_of(error: Exception) -> int:
    """The exit code for what is no `EarnestError`; a fault of ours is never dressed up as the user's."""
    complaint = getattr(error, "format_message", None)
    if complaint is not None:
        context = getattr(error, "ctx", None)
        verb = "earnest" if context is None else context.command_path
        message = complaint()
        if message:  # none where `earnest` alone has shown its help
            stop = "" if message.endswith((".", "?")) else "."
            _say(f"{message}{stop} `{verb} --help` shows how.")
        return USED
    what = (str(error).splitlines() or [""])[0][:200]
    _say(f"a fault of ours, not of your data: {type(error).__name__}: {what} (traceback in {_log(error)})")
    return OURS


def _log(error: Exception) -> Path:
    """Add the traceback to error.log in the run folder, or where there is none here, or in the temporary folder."""
    for folder in (_run_folder(), Path(), Path(tempfile.gettempdir())):
        if folder is None:
            continue
        with contextlib.suppress(OSError), (folder / "error.log").open("a", encoding="utf-8") as file:
            traceback.print_exception(error, file=file)
            return folder / "error.log"
    return Path(os.devnull)


def _pairs(types: list[str]) -> dict[str, str]:
    pairs = {}
    for pair in types:
        column, equals, kind = pair.rpartition("=")
        if not equals or not column:
            raise OptionError(f"--type {pair}: write it as COLUMN=KIND, such as --type rating=category.")
        pairs[column] = kind
    return pairs


def _show(run: Any, quiet: bool) -> None:
    if quiet or not run.writes:
        return
    from rich.console import Console

    from earnest.report.terminal import summary

    Console().print(summary(run.read("evaluation.json"), run.read("audit.json"), run.path))


def _say(message: str) -> None:
    typer.echo(f"earnest: {message}", err=True)


def _run_folder() -> Path | None:
    from earnest.core.run import Run

    return Run.current.path if Run.current is not None and Run.current.path.exists() else None


def _how_to_go_on() -> str:
    folder = _run_folder()
    return "." if folder is None else f"; go on with: earnest resume {shlex.quote(str(folder))}"


if __name__ == "__main__":
    main()
