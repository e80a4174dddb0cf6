"""One honest sentence on how good the result is and whether the effort paid."""

from __future__ import annotations

from typing import Any

from earnest.evaluation.metrics import METRICS

TRIVIAL = ("majority class", "mean", "median")
SURE = 0.05
"""A difference with a p-value below this is taken for real."""
TITLES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "f1_macro": "macro F1",
    "f1": "F1 of entities",
    "log_loss": "log loss",
    "roc_auc": "ROC AUC",
    "rmse": "RMSE",
    "mae": "mean absolute error",
    "r2": "R²",
}


def verdict(evaluation: dict[str, Any], *, shipped: str = "the network", noun: str = "rows") -> str:
    """The verdict on an evaluation.json, of which scores, "metric", "comparison" and "unlabelled" are read.

    `shipped` is what the user gets ("the network", "LightGBM", "linear"); `noun` what a row is ("images", "digits").
    """
    judged = evaluation["test"] or evaluation["validation"]
    metric = evaluation["metric"]
    sentence = _score(judged, metric, noun, unseen=evaluation["test"] is not None)
    sentence += _against(evaluation, judged, metric, shipped)
    if evaluation.get("unlabelled") is not None:
        sentence += _unlabelled(evaluation["unlabelled"], metric)
    if evaluation["test"] is None:
        sentence += " There was no test set: these rows also chose the model, so expect somewhat less on new ones."
    return sentence


def _score(judged: dict[str, Any], metric: str, noun: str, *, unseen: bool) -> str:
    score = judged["metrics"][metric]
    rows = f"{judged['n']:,} {'unseen' if unseen else 'validation'} {noun}"
    if metric == "accuracy":
        low, high = 100 * score["low"], 100 * score["high"]
        return f"Right on {_show(score['value'], metric)} of {rows} (95% interval {low:.1f} to {high:.1f})"
    low, high = _show(score["low"], metric), _show(score["high"], metric)
    title = TITLES[metric]
    return f"{title[0].upper()}{title[1:]} {_show(score['value'], metric)} on {rows} (95% interval {low} to {high})"


def _against(evaluation: dict[str, Any], judged: dict[str, Any], metric: str, shipped: str) -> str:
    trivial = next((name for name in TRIVIAL if name in judged["baselines"]), None)
    if trivial is not None and metric in judged["baselines"][trivial] and _no_better(judged, metric, trivial):
        return f": no better than {_always(trivial)} ({_show(judged['baselines'][trivial][metric]['value'], metric)})."
    compared = evaluation.get("comparison")
    if compared is None or compared["against"] in TRIVIAL:
        return f", well ahead of {_always(trivial)}." if trivial is not None else "."
    rival = compared["against"]
    theirs = _show(judged["baselines"][rival][compared["metric"]]["value"], compared["metric"])
    if compared["metric"] != metric:
        theirs = f"{TITLES[compared['metric']]} {theirs}"
    who = _article(rival)
    p_value = compared["p_value"]
    if p_value >= SURE:
        return f"; {who} may do as well: its {theirs} differs by no more than chance would (p = {_p(p_value)})."
    ahead = compared["difference"]["value"] > 0
    if ahead == _higher_is_better(compared["metric"]):
        return f"; {who} gets {theirs}, so {shipped} earns its keep (p {_p_phrase(p_value)})."
    return f"; {who} does better ({theirs}, p {_p_phrase(p_value)}): ship that."


def _unlabelled(found: dict[str, Any], metric: str) -> str:
    """Whether rows without an answer helped, on the rows that choose."""
    rows = f"{found['rows']:,} rows without an answer"
    if found["with"] is None:
        return f" There was no time to learn from the {rows}."
    scores = _show(found["with"]["score"], metric), _show(found["without"]["score"], metric)
    if found["shipped"]:
        return f" The {rows} helped: {scores[0]} with them, {scores[1]} without, where models were chosen."
    return (
        f" The {rows} did not help: {scores[0]} with them, {scores[1]} without, where models were chosen; what is "
        "shipped learned from the labelled rows alone."
    )


def _no_better(judged: dict[str, Any], metric: str, trivial: str) -> bool:
    mine, theirs = judged["metrics"][metric], judged["baselines"][trivial][metric]["value"]
    return bool(mine["low"] <= theirs if _higher_is_better(metric) else mine["high"] >= theirs)


def _higher_is_better(metric: str) -> bool:
    return metric not in METRICS or METRICS[metric].higher_is_better


def _always(trivial: str) -> str:
    return "always giving the commonest class" if trivial == "majority class" else f"always answering the {trivial}"


def _article(name: str) -> str:
    return name.replace("linear", "a linear model", 1) if name.startswith("linear") else name


def _show(value: float, metric: str) -> str:
    if metric in ("accuracy", "balanced_accuracy", "f1"):
        return f"{100 * value:.1f}%"
    return f"{value:.3f}" if METRICS[metric].task == "classification" or metric == "r2" else f"{value:,.4g}"


def _p(value: float) -> str:
    return f"{value:.2f}" if value >= 0.1 else f"{value:.2g}"


def _p_phrase(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"= {_p(value)}"
