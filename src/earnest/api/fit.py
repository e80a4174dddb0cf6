"""`earnest fit DATA`: look, split, baselines, train, evaluate, report."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from earnest.api.request import Request, default_folder, located
from earnest.core.errors import UsageError
from earnest.core.run import Run


def fit(
    data: str | Path,
    *,
    target: str | None = None,
    task: str | None = None,
    test: str | Path | None = None,
    unlabeled: str | Path | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
    seed: int = 0,
    minutes: float | None = None,
    epochs: int | None = None,
    model: str | None = None,
    from_scratch: bool = False,
    start_from: str | Path | None = None,
    metric: str | None = None,
    judge: str | Path | None = None,
    types: Mapping[str, str] | None = None,
    split: str | None = None,
    group: str | None = None,
    time: str | None = None,
    recipe: str | Path | None = None,
    device: str | None = None,
    offline: bool = False,
    yes: bool = False,
    examples: bool = True,
    quiet: bool = False,
) -> Run:
    """Fit a model to data, honestly, and leave everything about it in a run folder.

    Args:
        data: a folder of pictures (a folder a class, or train/ [validation/] test/ of such), an archive of one, a
            table (CSV, TSV, Parquet, JSONL), tagged sentences (CoNLL), arrays (npz, npy, IDX), or "digits".
        target: the column to predict.
        task: "language-model" learns to go on with a running text: a text file, JSON lines with "text", or a folder;
            "masked-language-model" pretrains an encoder such as bert-modern-mini on it, to be started from;
            "word-vectors" learns vectors of its words. "generate" learns to make more pictures.
        test: data of its own for the last look; without it, a fifth is set aside.
        unlabeled: more data of the same columns without the target, where few rows have an answer: classes are learned
            from both, beside the same networks that learn from the labelled rows alone.
        start_from: for a table of texts: the run folder of an encoder that was pretrained here.
        out: the run folder; runs/NAME unless given.
        minutes: a hard budget for the whole run.
        judge: for task "generate": whose features made pictures are judged by, the run folder of a network for
            pictures, the name of pretrained weights, or "pixels" for their principal components; a classifier that is
            trained first unless given.
        types: kinds of columns that are not what they look like, such as {"rating": "category"}.
        split: "random", "group", "time", or a column that says train, validation or test.
        recipe: a TOML file of hyperparameters, such as another run's recipe.toml.

    Returns:
        The finished run.

    Raises:
        UsageError: the data or the question cannot be used; the message names the culprit and the fix. The run folder
            is taken away again, unless training had begun.
        Interrupted: Ctrl-C or SIGTERM; `earnest.resume` goes on.
    """
    request = Request(
        data=located(data),
        target=target,
        task=task,
        test=None if test is None else located(test),
        unlabeled=None if unlabeled is None else located(unlabeled),
        seed=seed,
        minutes=minutes,
        epochs=epochs,
        model=model,
        from_scratch=from_scratch,
        start_from=None if start_from is None else str(Path(start_from).absolute()),
        metric=metric,
        judge=None if judge is None else str(Path(judge).absolute() if Path(judge).exists() else judge),
        types=dict(types or {}),
        split=split,
        group=group,
        time=time,
        recipe=None if recipe is None else str(Path(recipe).absolute()),
        device=device,
        offline=offline,
        yes=yes,
        examples=examples,
    )
    run = Run.create(
        Path(out) if out is not None else default_folder(request.data), request.facts(), overwrite=overwrite
    )
    Run.current = run
    run.log("started")

    from earnest.api.course import carry_out

    try:
        return carry_out(run, quiet=quiet)
    except UsageError:
        if not run.began():
            run.withdraw()
        raise
