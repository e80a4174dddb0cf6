"""What a run on tagged sentences shows: types, sentences with their spans, and sentences called so."""

from __future__ import annotations

from fake_runs import HOSTILE
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import escape
from test_report_page import read

from earnest.core.run import Run
from earnest.report.card import write_card
from earnest.report.evidence import Evidence, segments
from earnest.report.page import write_report


@given(st.data())
def test_segments_are_the_sentence_with_its_spans(data: st.DataObject) -> None:
    tokens = data.draw(st.lists(st.text("abc", min_size=1, max_size=3), min_size=1, max_size=12))
    cuts = data.draw(st.lists(st.integers(0, len(tokens)), unique=True).map(sorted))
    spans = [(data.draw(st.sampled_from("XY")), a, b) for a, b in zip(cuts[::2], cuts[1::2], strict=False)]
    others = [span for span in spans if data.draw(st.booleans())]
    found = segments(tokens, [list(span) for span in spans], others)
    assert " ".join(segment.text for segment in found) == " ".join(tokens)
    marked = [segment for segment in found if segment.kind is not None]
    assert [(one.kind, one.text) for one in marked] == [(kind, " ".join(tokens[a:b])) for kind, a, b in spans]
    assert [one.agrees for one in marked] == [span in others for span in spans]


def test_the_page_speaks_of_sentences_and_types(tagging_run: Run) -> None:
    reader = read(tagging_run)
    expected = "scores candidates curves classes mistakes audit left-out columns training use limits"
    assert reader.ids == expected.split()
    for words in (
        *("Finding LOC, PER in the sentences of names.conll", "on 412 test sentences", "Type by type"),
        *("LOC 311 81.2% 77.4% 79.3%", "Type Entities Precision Recall F1", "share of words whose tag is right"),
        *("truth Ada Stone PER met", "in New York LOC .", "answer Ada Stone PER met", "in New York LOC .", "line 301"),
    ):
        assert words in reader.text, words


def test_wrong_and_missing_spans_are_told_from_right_ones(tagging_run: Run) -> None:
    page = write_report(tagging_run).read_text(encoding="utf-8")
    assert page.count("<mark>Ada Stone") == 2
    assert f'<mark class="wrong">{escape(HOSTILE)}' in page
    assert '<mark class="wrong">New York' in page
    assert '<mark class="wrong">York' in page
    assert HOSTILE not in page


def test_the_card_says_what_it_answers_with(tagging_run: Run) -> None:
    card = write_card(tagging_run).read_text(encoding="utf-8")
    assert "a tag for every word" in card
    assert "On 412 test sentences" in card
    assert Evidence.of(tagging_run).noun == "sentence"
