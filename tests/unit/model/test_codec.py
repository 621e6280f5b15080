"""Values to JSON and back."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payload.model.codec import DocumentError, from_json, to_json, to_pretty_json
from payload.model.report import Report
from tests.support.console_samples import REPORT, REPORTS


def test_there_and_back() -> None:
    assert from_json(Report, to_json(REPORT)) == REPORT
    assert from_json(Report, to_pretty_json(REPORT)) == REPORT


def test_what_was_no_utf8_becomes_visible() -> None:
    odd = replace(REPORT, sentence=b"M\xfcller".decode("utf-8", "surrogateescape"))
    assert from_json(Report, to_json(odd)) == replace(REPORT, sentence=r"M\udcfcller")


@given(REPORTS)
def test_every_report_can_be_told(report: Report) -> None:
    told = from_json(Report, to_json(report))
    assert told.exit_code == report.exit_code
    assert to_json(told) == to_json(report)


@given(st.binary(max_size=100))
def test_other_bytes_are_a_document_error(document: bytes) -> None:
    with pytest.raises(DocumentError):
        from_json(Report, document)
