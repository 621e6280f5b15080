"""Where the rule about overwriting lives, the unit tests that guard it, and the changes to it that
make no difference. A module is added with one line of `TARGETS`.

Whole modules where possible: a function that is written into them tomorrow is tried, too.
"""

from tests.mutate.mutants import Target

WORDS = "words for people"
TARGETS = (
    Target(
        "payload.decide.disk_verdict",
        (
            "decide/test_role",
            "decide/test_role_pair",
            "identify/test_content",
            "decide/test_overwriting",
        ),
        but=((("describe_copy", "describe_system", "when"), WORDS),),
    ),
    Target(
        "payload.decide.role",
        ("decide/test_role", "decide/test_role_pair", "decide/test_overwriting"),
        but=((("_reasons", "_pair_details", "_fit", "_ready_since"), WORDS),),
    ),
    Target("payload.decide.shared", ("decide/test_role_pair",)),
    Target("payload.system.eligibility", ("system/test_eligibility",)),
    Target(
        "payload.formats.disk.unfinished_mark",
        ("formats/disk/test_unfinished_mark",),
        only=("decode_mark",),
    ),
    Target(
        "payload.model.disk",
        ("decide/test_role", "identify/test_content"),
        only=("Content.fingerprint", "Hardware.unseen"),
    ),
    Target("payload.session.last_look", ("session/test_last_look", "decide/test_overwriting")),
    Target(
        "payload.session.agreement",
        ("session/test_agreement",),
        but=((("survey_target",), "what the source finds out for the preflight"),),
    ),
    # What becomes of each byte, and when a copy is called proven.
    Target("payload.model.account", ("decide/test_account_examples", "decide/test_account")),
    Target("payload.decide.account", ("decide/test_account_examples", "decide/test_account")),
    # Who may open which disk, and how.
    Target(
        "payload.system.device",
        ("system/test_block", "system/test_device"),
        only=("open_to_read", "open_to_write", "_open", "set_read_only", "view"),
    ),
    Target(
        "payload.system.mapper",
        ("system/test_mapper",),
        only=("assemble", "_mapped"),
    ),
    Target("payload.system.mounts", ("system/test_mounts",), only=("mount_options",)),
    Target(
        "payload.system.block",
        ("system/test_block",),
        but=(
            (
                (
                    *("HARDWARE_RO", "_PROPERTIES", "_DRIVEN", "Listing", "Properties"),
                    *("_model", "_aliases", "_controllers", "LinuxBlocks.discard_step"),
                ),
                "what a disk says of itself, or can do",
            ),
        ),
    ),
    # The way to the first write, and to each write after a break.
    Target(
        "payload.session.engine",
        ("session/test_engine",),
        only=("Engine._identify",),
    ),
    Target("payload.session.opening", ("session/test_engine",), only=("open_session",)),
    Target(
        "payload.session.source",
        ("session/test_source",),
        only=("SourceSession.reconnect", "SourceSession._resume"),
    ),
    Target(
        "payload.session.target",
        ("session/test_target",),
        only=(
            "TargetSession._open_disks",
            "TargetSession._beside_control",
            "TargetSession._keep_control",
            "TargetSession._resume",
            "TargetSession._check_receiver",
            "TargetSession._make_it_boot",
        ),
    ),
    Target(
        "payload.replicate.receiver",
        ("replicate/test_receiver", "replicate/test_first_and_last_writes"),
        only=(
            *("Receiver.begin", "Receiver.recheck", "Receiver.abandon", "Receiver._restore"),
            *("Receiver.left", "Receiver.seal", "Receiver._check_whole", "_target_disk"),
        ),
    ),
    Target(
        "payload.replicate.target_disk",
        ("replicate/test_first_and_last_writes", "replicate/test_target_disk"),
        only=(
            *("TargetDisk.put_mark", "TargetDisk.zero_first_sector", "TargetDisk.restore"),
            *("TargetDisk.close", "TargetDisk._write_before_mark", "TargetDisk.write_head"),
            *("TargetDisk.write_boot_code", "TargetDisk.read_head", "TargetDisk._keep_mark"),
        ),
    ),
    # Which disk is written to.
    Target(
        "payload.decide.planning",
        ("decide/test_planning",),
        only=(
            *("plan_copy", "_comes_first", "_check_firmware", "_source_disks", "_pair"),
            *("_check_arrays", "_root_system", "_root_region", "_holds"),
        ),
    ),
    Target(
        "payload.decide.matching",
        ("decide/test_matching", "decide/test_planning"),
        but=((("_why_not",), WORDS),),
    ),
)

# Why nobody could tell these from the code as it is, or why they overwrite nothing: by the name
# that `make mutate` prints.
_VERDICT, _ROLE = "payload.decide.disk_verdict", "payload.decide.role"
_AGREEMENT = "payload.session.agreement"
_TARGET_DISK = "payload.replicate.target_disk.TargetDisk"
_BLOCKS, _MATCHING = "payload.system.block.LinuxBlocks", "payload.decide.matching"
_REASONS: dict[str, tuple[str, ...]] = {
    WORDS: (
        f"{_VERDICT}._judge_data: without `or 'data of unknown use'`",
        f"{_VERDICT}._judge_unfinished: `mark.target_id != machine_id` never holds",
        f"{_VERDICT}._judge_unfinished: `mark.target_id != machine_id` always holds",
        f"{_ROLE}.gather: `not disks` always holds",
        "payload.session.last_look._check_disk: `disk.content` never holds",
        "payload.session.last_look._check_disk: `disk.content` always holds",
        f"{_AGREEMENT}.agree: without the element `*plan.warnings`",
        f"{_AGREEMENT}.agree: without the element `*checked.warnings`",
        f"{_AGREEMENT}.agree: `plan.verify and (not context.settings.verify)` never holds",
        f"{_AGREEMENT}.agree: `plan.verify and (not context.settings.verify)` always holds",
        f"{_AGREEMENT}.agree: without `and plan.verify`",
        f"{_AGREEMENT}.agree: without `and not context.settings.verify`",
        f"{_AGREEMENT}.agree: `context.other.resume` never holds",
        f"{_AGREEMENT}.agree: `context.other.resume` always holds",
    ),
    "a key that was pressed before stops the countdown, too: nothing is written": (
        f"{_AGREEMENT}.count_down: `context.stop.clear()` is not done",
    ),
    "the countdown looks for a key and for the peer without a pause, and lasts as long": (
        f"{_AGREEMENT}.wait_a_second: `context.stop.wait(min(1.0, left))` never holds",
    ),
    "every system it is asked of has a marker": (
        f"{_VERDICT}._judge_marked: `copy.marker` always holds",
        f"{_VERDICT}._mapping: `marker` always holds",
    ),
    "a verdict that is no copy names no source": (
        f"{_ROLE}._permission: `ground is Ground.OUR_COPY` always holds",
    ),
    "the digest is compared with all that is behind the body, so another length differs": (
        "payload.formats.disk.unfinished_mark.decode_mark: without `or len(sector) != MARK_SIZE`",
    ),
    "what the source surveyed is for the preflight, that this machine makes before": (
        f"{_AGREEMENT}.agree: without `or survey`",
        f"{_AGREEMENT}.agree: without `or Survey()`",
    ),
    "an area that ends in front of the mark has no bytes to be written there": (
        f"{_TARGET_DISK}._write_before_mark: `has_mark` always holds",
        f"{_TARGET_DISK}._keep_mark: `self._mark_sector.stop > len(area)` never holds",
        f"{_TARGET_DISK}._keep_mark: `False` is always True",
    ),
    "whatever is a bystander is not eligible either": (
        f"{_BLOCKS}._look_at: without `and bool(reason)`",
    ),
    "no block device has the name of a source that is not in /dev": (
        f"{_BLOCKS}._entry: `not source.startswith('/dev/')` never holds",
    ),
    "what uses a device that is not there uses no disk": (
        f"{_BLOCKS}._entry: `by_name.exists()` always holds",
    ),
    "a property without a value is left out, however it is empty": (
        "payload.system.block._property: `except UnicodeDecodeError` passes in silence",
    ),
    "without an earlier copy the same is computed twice": (
        f"{_MATCHING}.match_disks: without `and earlier`",
    ),
}
EQUIVALENT = {name: reason for reason, names in _REASONS.items() for name in names}
