"""What the payload says on the serial line, read back: stages, roles, progress, the report."""

import re
from dataclasses import dataclass

from payload.model.codec import DocumentError, from_json
from payload.model.report import Report

STAGES = ("identify", "connect", "plan", "copy", "verify", "finish", "report")

BANNER = r"^UGS-Failover \d\S* on "  # the first line of every run, which only our payload says

_STAGE = re.compile(rf"^\[({'|'.join(STAGES)})\] (.+)$")
_PROGRESS = re.compile(
    rf"^\[({'|'.join(STAGES)})\] (.+) (\d+)% ([\d.]+) MB/s, (.+) left, all (\d+)%"
    r"(?:, held up by the .+)?$"
)
_ROLE = re.compile(r"^\[role\] (\w+): (.*)$")
_REPORT = "report.json: "


@dataclass(frozen=True)
class StageLine:
    """A new stage began."""

    name: str
    text: str


@dataclass(frozen=True)
class ProgressLine:
    """How far the run is. Percentages are whole numbers, `rate` is in 10^6 bytes per second."""

    stage: str
    region: str
    percent: int
    rate: float
    left: str
    all_percent: int


@dataclass(frozen=True)
class RoleLine:
    role: str
    reasons: str


@dataclass(frozen=True)
class ReportLine:
    report: Report


@dataclass(frozen=True)
class BrokenReportLine:
    """The report's line was torn apart, by a kernel message in its middle for instance."""

    why: str


Line = StageLine | ProgressLine | RoleLine | ReportLine | BrokenReportLine


def read_line(line: str) -> Line | None:
    """What one line means, or None for what the kernel, systemd and others say."""
    if line.startswith(_REPORT):
        try:
            return ReportLine(from_json(Report, line.removeprefix(_REPORT)))
        except DocumentError as error:
            return BrokenReportLine(str(error))
    if match := _PROGRESS.match(line):
        stage, region, percent, rate, left, everything = match.groups()
        return ProgressLine(stage, region, int(percent), float(rate), left, int(everything))
    if match := _STAGE.match(line):
        return StageLine(match[1], match[2])
    if match := _ROLE.match(line):
        return RoleLine(match[1], match[2])
    return None
