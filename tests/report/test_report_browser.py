"""The page in a real browser: no sideways scrolling on a phone or a desk, and nothing on the console."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

import pytest

from earnest.core.run import Run
from earnest.report.page import write_report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

FLAGS = """
    --headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
    --disable-component-update --disable-sync --hide-scrollbars --enable-logging=stderr --virtual-time-budget=2000
    --allow-file-access-from-files --dump-dom
"""

BROKEN = '<!DOCTYPE html><div style="width:2000px">wide</div><script>console.error("control")</script>'
"""Scrolls sideways and complains: what the measurement has to notice."""

MEASURE = """
onload = () => {
  document.title = JSON.stringify([...document.querySelectorAll("iframe")].map(frame => {
    frame.contentDocument.querySelectorAll("details").forEach(details => details.open = true);
    const page = frame.contentDocument.documentElement;
    return [page.scrollWidth, page.clientWidth, page.scrollHeight, frame.contentDocument.title];
  }));
};
"""


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_no_sideways_scrolling_and_a_quiet_console(
    tmp_path: Path, digits_run: Run, prices_run: Run, hostile_run: Run, many_classes_run: Run, unfinished_run: Run
) -> None:
    runs = (digits_run, prices_run, hostile_run, many_classes_run, unfinished_run)
    broken = tmp_path / "broken.html"
    broken.write_text(BROKEN, encoding="utf-8")
    framed = [(page, width) for page in map(write_report, runs) for width in (360, 1200)]
    framed.append((broken, 360))
    frames = "".join(
        f'<iframe src="{page.as_uri()}" style="width:{width}px;height:900px;border:0"></iframe>'
        for page, width in framed
    )
    shell = tmp_path / "shell.html"
    shell.write_text(f"<!DOCTYPE html><title></title>{frames}<script>{MEASURE}</script>", encoding="utf-8")

    command = [str(CHROMIUM), *FLAGS.split(), f"--user-data-dir={tmp_path / 'profile'}", shell.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    title = re.search(r"<title>(.*?)</title>", done.stdout)
    assert title
    *measured, control = json.loads(unescape(title[1]))
    assert control[0] == 2008 > control[1]
    for (page, width), (scroll_width, client_width, height, name) in zip(framed[:-1], measured, strict=True):
        assert client_width == width, page
        assert scroll_width <= client_width, page
        assert height > 900, page
        assert name == f"{page.parent.name} – earnest report"
    complaints = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    assert len(complaints) == 1, complaints
    assert "control" in complaints[0]
