"""Events and reports for the console's tests: plain ones, and whatever hypothesis thinks of."""

from hypothesis import strategies as st

from payload.model.account import SettledAccount
from payload.model.event import (
    Agreement,
    Countdown,
    Decided,
    Ended,
    Event,
    Level,
    Limiter,
    Note,
    Progress,
    Stage,
    Waiting,
)
from payload.model.marker import Change, MachineReference
from payload.model.report import (
    BootLoaderReport,
    CardName,
    Hole,
    RegionReport,
    Report,
    Result,
)
from payload.model.role import Decision, Role

REPORT = Report(
    result=Result.OK,
    sentence="The target is now a verified copy of groupware and starts as that server.",
    exit_code=0,
    plan_digest="4f" * 32,
    source=MachineReference("a" * 32, "Dell PowerEdge aaaaaaaa", "groupware"),
    target=MachineReference("b" * 32, "HP ProLiant bbbbbbbb"),
    started_at=1_794_000_000,
    seconds={"identify": 1.5, "copy": 353.0},
    regions=(
        RegionReport(
            "disk 1 boot area",
            "sda",
            "",
            1 << 20,
            1 << 20,
            900_000,
            0,
            0.5,
            "c" * 64,
            "c" * 64,
            True,
        ),
        RegionReport(
            "disk 1 partition 5",
            "sda",
            "ext4",
            500 * 10**9,
            37 * 10**9,
            12 * 10**9,
            10**9,
            353.0,
            "d" * 64,
            "d" * 64,
            True,
        ),
    ),
    accounts=(
        SettledAccount(
            "ST3500320NS 9QM1AB2C 500.1 GB",
            500_107_862_016,
            37 * 10**9 + (1 << 20),
            37 * 10**9 + (1 << 20),
            free={"ext4": 463 * 10**9},
            unread=106_813_440,
        ),
    ),
    verified=True,
    boot_loader=BootLoaderReport("carried over", "GRUB 2", ("boot code names sector 1",)),
    cards=(CardName("eth0", "00:16:3e:00:00:02", "the copy came over this card"),),
    changes=(Change("/etc/udev/rules.d/z25_persistent-net.rules", "eth0 renamed"),),
    warnings=("The journal of the root file system was not empty.",),
    version="0.1.0",
)

PROGRESS = Progress(
    stage="copy",
    region="disk 1 partition 5",
    done=45_000_000,
    total=100_000_000,
    all_done=37,
    all_total=100,
    sent=12,
    rate=12_340_000.0,
    remaining=80.0,
    region_sent=12_000_000,
    average=11_000_000.0,
    limiter=Limiter.SOURCE_DISK,
)

_TEXT = st.one_of(
    st.text(st.characters(exclude_categories=()), max_size=60),
    st.sampled_from(["\x1b]0;title\x07", "a\nb\r\nc", "\x9b31m", "x" * 500, "[bold red]no[/]"]),
)
_TEXTS = st.lists(_TEXT, max_size=4).map(tuple)
_COUNT = st.integers(0, 1 << 62)
_SECONDS = st.floats(0, 1e9)
_REFERENCE = st.none() | st.builds(MachineReference, _TEXT, _TEXT, _TEXT)
_HOLES = st.lists(st.builds(Hole, _COUNT, st.integers(1, 1 << 40)), max_size=3).map(tuple)
_REGIONS = st.builds(
    RegionReport,
    name=_TEXT,
    disk=_TEXT,
    file_system=_TEXT,
    total=_COUNT,
    used=_COUNT,
    sent=_COUNT,
    held=_COUNT,
    seconds=st.floats(0, 1e5),
    source_digest=_TEXT,
    target_digest=_TEXT,
    verified=st.booleans(),
    holes=_HOLES,
    is_gap=st.booleans(),
)

REPORTS = st.builds(
    Report,
    result=st.sampled_from(Result),
    sentence=_TEXT,
    exit_code=st.integers(0, 255),
    plan_digest=_TEXT,
    source=_REFERENCE,
    target=_REFERENCE,
    started_at=st.integers(-(1 << 62), 1 << 62),
    seconds=st.dictionaries(_TEXT, _SECONDS, max_size=4),
    regions=st.lists(_REGIONS, max_size=4).map(tuple),
    accounts=st.lists(
        st.builds(
            SettledAccount,
            disk=_TEXT,
            size=_COUNT,
            copied=_COUNT,
            compared=_COUNT,
            unreadable=_COUNT,
            free=st.dictionaries(_TEXT, _COUNT, max_size=3),
            swap=_COUNT,
            table=_COUNT,
            unread=_COUNT,
            cut=_COUNT,
            missing=_COUNT,
        ),
        max_size=2,
    ).map(tuple),
    verified=st.booleans(),
    boot_loader=st.none() | st.builds(BootLoaderReport, _TEXT, _TEXT, _TEXTS),
    cards=st.lists(st.builds(CardName, _TEXT, _TEXT, _TEXT), max_size=3).map(tuple),
    changes=st.lists(st.builds(Change, _TEXT, _TEXT), max_size=3).map(tuple),
    warnings=_TEXTS,
    version=_TEXT,
)

EVENTS: st.SearchStrategy[Event] = st.one_of(
    st.builds(Stage, _TEXT | st.just("copy"), _TEXT),
    st.builds(Note, _TEXT, st.sampled_from(Level)),
    st.builds(Decided, st.builds(Decision, st.sampled_from(Role), _TEXT, _TEXTS)),
    st.builds(Waiting, _TEXT, _TEXTS),
    st.builds(Agreement, _TEXTS),
    st.builds(Countdown, st.integers(0, 1 << 40)),
    st.builds(
        Progress,
        stage=_TEXT | st.just("verify"),
        region=_TEXT,
        done=_COUNT,
        total=_COUNT,
        all_done=_COUNT,
        all_total=_COUNT,
        sent=_COUNT,
        rate=st.floats(),
        remaining=st.floats(),
    ),
    st.builds(Ended, REPORTS),
)
