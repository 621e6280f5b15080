"""The commands of `python3 -m payload`.

`run` is what the live system starts; the others help on any machine. Each command imports what it
needs itself, so that asking for the version loads nothing else, and returns its exit code. Errors
are sentences on stderr.
"""

import argparse
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from payload import __version__
from payload.model.errors import FailoverError, PlanError, SettingsError, UndecidedError

if TYPE_CHECKING:
    from payload.decide.preflight import Preflight
    from payload.model.plan import Plan
    from payload.model.settings import Settings

WOULD_CHANGE = 20  # said by `adapt --check`
INTERRUPTED = 130  # as a shell says it: 128 + SIGINT
PIPE_CLOSED = 141  # 128 + SIGPIPE

T = TypeVar("T")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Returns the exit code of `docs/exit-codes.md`."""
    arguments = _parser().parse_args(argv)
    command: Callable[[argparse.Namespace], int] = arguments.command
    try:
        code = command(arguments)
        sys.stdout.flush()
    except FailoverError as error:
        _say_error(str(error))
        code = error.exit_code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at exit
        code = PIPE_CLOSED
    except KeyboardInterrupt:
        _say_error("Ended from outside.")
        code = INTERRUPTED
    except Exception as error:  # noqa: BLE001  the last place where anything can be said
        traceback.print_exc()
        _say_error(f"This is a mistake in UGS-Failover ({error!r}); please report it.")
        code = FailoverError.exit_code
    return code


def _say_error(sentence: str) -> None:
    from payload.console.text import plain

    print(f"ugs-failover: {plain(sentence)}", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ugs-failover",
        description="Makes a verified, bootable cold-standby copy of a Linux server.",
        epilog="Exit codes: ugs-failover exit-codes. Settings: ugs-failover settings.",
    )
    parser.add_argument("--version", action="version", version=f"UGS-Failover {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser("run", help="one whole run, in the live system only")
    command.set_defaults(command=run_live)

    command = commands.add_parser("inventory", help="what this machine is and has (needs root)")
    command.add_argument("--json", action="store_true", help="as a document for role and plan")
    command.set_defaults(command=show_inventory)

    command = commands.add_parser("role", help="the role of a machine, and why, as JSON")
    command.add_argument("inventory", type=Path, metavar="INVENTORY.json")
    command.add_argument("peer", type=Path, nargs="?", metavar="PEER.json")
    form = command.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="as JSON, which is the default")
    form.add_argument("--text", action="store_true", help="as text for people")
    _add_settings(command, "as if this machine had been started with failover.KEY=VALUE")
    _add_settings(command, "as if the peer had been", "--set-peer", "peer_settings")
    command.set_defaults(command=show_role)

    command = commands.add_parser("plan", help="what a copy would do, or why there can be none")
    command.add_argument("source", type=Path, metavar="SOURCE.json")
    command.add_argument("target", type=Path, metavar="TARGET.json")
    command.add_argument("--json", action="store_true")
    _add_settings(command, "as if the target had been started with failover.KEY=VALUE")
    _add_settings(command, "as if the source had been", "--set-source", "source_settings")
    command.set_defaults(command=show_plan)

    command = commands.add_parser("adapt", help="tie a mounted copy's network names to other cards")
    command.add_argument("root", type=Path, metavar="ROOT")
    command.add_argument("--cards", type=Path, required=True, metavar="CARDS.json")
    command.add_argument("--check", action="store_true", help="only say what would change")
    command.add_argument("--json", action="store_true")
    command.set_defaults(command=adapt)

    command = commands.add_parser("site-key", help="make the key of a new site")
    command.add_argument("directory", type=Path, metavar="DIRECTORY")
    command.set_defaults(command=make_site_key)

    command = commands.add_parser(
        "check-site", help="settings of a medium, as both machines read them"
    )
    command.add_argument("site_toml", type=Path, metavar="SITE.toml")
    command.add_argument(
        "parameters", nargs="*", metavar="WORD", help="kernel parameters of the medium's boot menu"
    )
    command.set_defaults(command=check_site)

    for name, text in (("exit-codes", "the exit codes"), ("settings", "all settings")):
        command = commands.add_parser(name, help=f"print {text}")
        command.set_defaults(command=print_page, page=f"{name}.md")

    command = commands.add_parser("docs", help="write the reference pages printed from the code")
    command.add_argument("directory", type=Path, metavar="DIRECTORY")
    command.set_defaults(command=write_pages)
    return parser


def _add_settings(
    command: argparse.ArgumentParser, text: str, option: str = "--set", name: str = "settings"
) -> None:
    command.add_argument(
        option, action="append", default=[], metavar="KEY=VALUE", dest=name, help=text
    )


def _read_settings(words: Sequence[str]) -> "Settings":
    from payload.model.settings import Settings, read_kernel_line

    return read_kernel_line(Settings(), " ".join(f"'failover.{word}'" for word in words))


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror or error}.") from error


def _read_document(kind: type[T], path: Path) -> T:
    """A JSON document given as argument. Raises SettingsError naming the file."""
    from payload.model.codec import DocumentError, from_json

    try:
        return from_json(kind, _read_bytes(path))
    except DocumentError as error:
        raise SettingsError(f"{path} is {error}.") from error


def _print_json(value: object) -> None:
    from payload.model.codec import to_pretty_json

    sys.stdout.flush()
    sys.stdout.buffer.write(to_pretty_json(value))


def run_live(_: argparse.Namespace) -> int:
    """The live system's command. A person sees its first words while it loads itself."""
    from payload.console.terminals import greet, read_serial_lines

    serials = (Path("/dev") / name for name in read_serial_lines(Path("/proc/cmdline")))
    greet(__version__, [Path("/dev/tty1"), *serials])
    from payload.live import run_live_system

    return run_live_system(__version__)


def show_inventory(arguments: argparse.Namespace) -> int:
    """Look at this machine."""
    import time

    from payload.cli.inventory_text import render_inventory
    from payload.identify.inventory import take_inventory
    from payload.system.linux import linux_host

    inventory = take_inventory(linux_host(), __version__, int(time.time()))
    if arguments.json:
        _print_json(inventory)
    else:
        print(render_inventory(inventory), end="")
    return 0


def show_role(arguments: argparse.Namespace) -> int:
    """Decide for a saved inventory, alone or beside a peer."""
    from payload.cli.inventory_text import render_decision
    from payload.decide.role import decide_pair, decide_role
    from payload.model.inventory import Inventory

    settings = _read_settings(arguments.settings)
    inventory = _read_document(Inventory, arguments.inventory)
    decision = decide_role(inventory, settings)
    if arguments.peer is not None:
        peer = _read_document(Inventory, arguments.peer)
        of_peer = decide_role(peer, _read_settings(arguments.peer_settings))
        decision = decide_pair(inventory, decision, peer, of_peer, settings)
    if arguments.text:
        print(render_decision(decision), end="")
    else:
        _print_json(decision)
    return 0


def show_plan(arguments: argparse.Namespace) -> int:
    """The plan for two saved inventories, or the reason why there is none."""
    try:
        plan, lines, checked = _make_plan(arguments)
    except (PlanError, UndecidedError) as error:
        if arguments.json:
            _print_json({"possible": False, "reason": str(error)})
        else:
            _print_lines([f"No copy is possible: {error}"])
        return error.exit_code
    if arguments.json:
        told = {"lines": lines, "preflight": checked, "plan": plan}
        _print_json({"possible": True, "digest": plan.digest, **told})
    else:
        _print_lines([*lines, *checked.lines, f"Digest of the plan: {plan.digest}"])
    return 0


def _make_plan(arguments: argparse.Namespace) -> "tuple[Plan, tuple[str, ...], Preflight]":
    """As the session does it, but for what only the source itself could be asked. Raises
    PlanError, UndecidedError, SettingsError."""
    from payload.decide.planning import describe, plan_copy
    from payload.decide.preflight import check_copy
    from payload.decide.role import decide_pair, decide_role
    from payload.model.inventory import Inventory
    from payload.model.role import Role
    from payload.model.survey import Survey

    settings = _read_settings(arguments.settings)
    source = _read_document(Inventory, arguments.source)
    target = _read_document(Inventory, arguments.target)
    decision = decide_role(target, settings)
    of_source = decide_role(source, _read_settings(arguments.source_settings))
    for which, wanted, found in (
        ("first", Role.SOURCE, of_source),
        ("second", Role.TARGET, decision),
    ):
        if found.role is not wanted:
            raise UndecidedError(
                f"The {which} machine is {found.role.value}, not {wanted.value}. "
                + " ".join(found.reasons)
            )
    verdict = decide_pair(target, decision, source, of_source, settings)
    if verdict.role is not Role.TARGET:
        raise UndecidedError(" ".join(verdict.reasons))
    plan = plan_copy(source, target, verdict, settings.copy, verify=settings.verify)
    checked = check_copy(plan, source, target, Survey(asked=False), ("", ""))
    return plan, describe(plan), checked


def _print_lines(lines: Sequence[str]) -> None:
    from payload.console.text import plain

    for line in lines:
        print(plain(line))


def adapt(arguments: argparse.Namespace) -> int:
    """Adapt a mounted system; a second run finds nothing to do. Checking is no failure, so what it
    found has an exit code of its own."""
    from payload.finish.network.adapt import run_adapt

    try:
        done = run_adapt(arguments.root, _read_bytes(arguments.cards), arguments.check)
    except SettingsError as error:
        raise SettingsError(f"{arguments.cards}: {error}") from error
    code = WOULD_CHANGE if arguments.check and done.changes else 0
    if arguments.json:
        _print_json(done)
        return code
    would = "would be changed: " if arguments.check else "changed: "
    _print_lines(
        [
            *(f"{would}{change.where}: {change.what}" for change in done.changes),
            *(() if done.changes else ("nothing to change",)),
            *(f"{card.name}: {card.mac or 'no card'} ({card.why})" for card in done.cards),
            *(f"warning: {warning}" for warning in done.warnings),
        ]
    )
    return code


def make_site_key(arguments: argparse.Namespace) -> int:
    """A new site."""
    from payload.wire.tls import make_site_key as make

    make(arguments.directory)
    _print_lines([f"The key of a new site is in {arguments.directory}."])
    return 0


def check_site(arguments: argparse.Namespace) -> int:
    """Whether the payload takes what a medium says to both machines."""
    from payload.model.settings import Settings, read_menu_parameters, read_site_toml

    text = _read_bytes(arguments.site_toml).decode(errors="replace")
    settings = read_site_toml(Settings(), text)
    read_menu_parameters(settings, arguments.parameters, "kernel-parameters")
    return 0


def print_page(arguments: argparse.Namespace) -> int:
    """One of the reference pages."""
    from payload.cli.reference import PAGES

    print(PAGES[arguments.page](), end="")
    return 0


def write_pages(arguments: argparse.Namespace) -> int:
    """All of them, as files, and the tables in the page that has them among its text."""
    from payload.cli.reference import FILLED, PAGES, fill

    filled = arguments.directory / FILLED
    try:
        filled.write_text(fill(_read_bytes(filled).decode()), encoding="utf-8")
    except ValueError as error:
        raise SettingsError(f"{filled} cannot be filled: {error}.") from error
    for name, page in PAGES.items():
        (arguments.directory / name).write_text(page(), encoding="utf-8")
    return 0
