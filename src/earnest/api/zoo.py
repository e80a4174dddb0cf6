"""`earnest zoo [NAME]`: every architecture: year, paper, size, and what was reproduced."""

from __future__ import annotations

from typing import Any

from earnest.core.registry import Entry, models

TAKES = {
    "image": "images",
    "table": "tables",
    "tokens": "texts",
    "columns": "images with other columns",
    "words": "running text",
    "noise": "making images",
}
"""Kinds of input, in words."""


def zoo(name: str | None = None) -> list[dict[str, Any]]:
    """What is known of the architectures, or of the one called `name`.

    Raises:
        OptionError: there is no such architecture; the nearest name is offered.
    """
    entries = [models[name]] if name is not None else [entry for entry in models if not entry.about["tiny"]]
    return [{"name": entry.name, **{k: v for k, v in entry.about.items() if k != "layouts"}} for entry in entries]


def show(name: str | None = None) -> None:
    """Print the zoo, or one architecture, for a person."""
    from rich.console import Console

    console = Console(highlight=False)
    if name is None:
        console.print(_table([entry for entry in models if not entry.about["tiny"]]))
        console.print("\n[dim]earnest zoo NAME tells more; earnest fit DATA --model NAME trains one.[/dim]")
        return
    about = zoo(name)[0]
    console.print(f"[bold]{about['title']}[/bold] ({name}), {about['year']}", highlight=False)
    for title, key in (("paper", "paper"), ("published", "reference"), ("reproduced", "reproduced")):
        if about.get(key):
            console.print(f"  {title:<12}{about[key]}", markup=False, soft_wrap=True)
    if about["parameters"]:
        console.print(f"  {'parameters':<12}{about['parameters']:,} at {_shape(about['input'])}", markup=False)
    console.print(f"  {'takes':<12}{', '.join(about['kinds'])}", markup=False)
    task = f" --task {about['task']}" if "task" in about else " --task generate" if "noise" in about["kinds"] else ""
    console.print(f"  {'train it':<12}earnest fit DATA{task} --model {name}", markup=False)


def _table(entries: list[Entry]) -> Any:
    """One line a network, under a heading for what it takes."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("name", "year", "parameters", "what it is"):
        table.add_column(title, justify="right" if title == "parameters" else "left", no_wrap=title != "what it is")
    for takes in dict.fromkeys([*TAKES.values(), *map(_takes, entries)]):
        chosen = [entry for entry in entries if _takes(entry) == takes]
        if chosen:
            table.add_row(f"[bold]for {takes}[/bold]")
        for entry in chosen:
            about = entry.about
            size = f"{about['parameters']:,}" if about["parameters"] else "by its input"
            table.add_row(f"  {entry.name}", str(about["year"]), size, about["title"])
    return table


def _takes(entry: Entry) -> str:
    """What it is for, in a word."""
    kinds = entry.about["kinds"]
    return next((takes for kind, takes in TAKES.items() if kind in kinds), kinds[0])


def _shape(shape: tuple[int, ...] | None) -> str:
    return "any" if shape is None else " x ".join(map(str, shape))
