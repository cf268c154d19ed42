"""The command `backorder`."""

import argparse
import json
import os
import sqlite3
import sys
from collections.abc import Iterable, Sequence
from importlib import import_module
from pathlib import Path
from textwrap import fill
from typing import Any

from pipelines.command_table import COMMANDS, DEMO_STORE, EPILOG_EXAMPLES, EXIT_CODES, HOLD_THE_STORE, Command

# Heavy modules are imported inside the commands that use them: `backorder --help` answers at once.

EXIT_REFUSED, EXIT_BUSY, EXIT_INTERRUPTED = 1, 3, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    arguments = parser().parse_args(argv)
    if busy := _busy(arguments):
        print(f"backorder: {busy}", file=sys.stderr)
        return EXIT_BUSY
    from erp.contract import ContractError
    from erp.destination import DeliveryError
    from erp.ledger import LedgerError, StoreBusy
    from erp.queue_files import PublishError
    from erp.settings import SettingsError
    from pipelines.progress import shown

    try:
        with shown(arguments.quiet) as progress:
            answer = getattr(import_module("pipelines.commands"), arguments.command)(arguments, progress)
        print(as_json(answer.facts) if getattr(arguments, "json", False) else answer.text)
        return int(answer.exit_code)
    except StoreBusy as busy:
        print(f"backorder: {busy}", file=sys.stderr)
        return EXIT_BUSY
    except KeyboardInterrupt:
        print("backorder: interrupted; run it again, and it goes on where it stopped", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # whoever read on, `head` say, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as trouble:
        return _refused(f"{trouble.filename or 'a file'}: {trouble.strerror or trouble}; mend that and run it again")
    except sqlite3.DatabaseError as damage:
        return _refused(f"the store's ledger cannot be used ({damage}); restore it, or take another --store")
    except (ContractError, SettingsError, LedgerError, PublishError, DeliveryError, ValueError) as refusal:
        return _refused(str(refusal))


def parser() -> argparse.ArgumentParser:
    """The command line, with help that teaches by examples."""
    codes = "\n".join(f"  {code:<4} {meaning}" for code, meaning in EXIT_CODES.items())
    whole = argparse.ArgumentParser(
        prog="backorder",
        description="Ranks open back orders by the money lost if each is passed over, and gives out scarce goods.",
        epilog=f"{_examples(EPILOG_EXAMPLES)}\n\n`backorder COMMAND --help` shows more.\n\nexit codes:\n{codes}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = whole.add_subparsers(title="commands", required=True, metavar="COMMAND", dest="command")
    for command in COMMANDS:
        _add(commands, command)
    return whole


def as_json(facts: object) -> str:
    """Write an answer as JSON: null where nothing is known, times and days in ISO form.

    >>> as_json({"a": float("nan"), "b": [1, None]}).split()
    ['{', '"a":', 'null,', '"b":', '[', '1,', 'null', ']', '}']
    """
    return json.dumps(_plain(facts), indent=2, ensure_ascii=False, allow_nan=False, default=str)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if hasattr(value, "isoformat"):
        return None if str(value) == "NaT" else value.isoformat()
    if hasattr(value, "item"):
        value = value.item()  # a number of NumPy's
    # Nothing but what is missing differs from itself; pandas' NA says neither yes nor no.
    return None if str(value) == "<NA>" or value != value else value


def _busy(arguments: argparse.Namespace) -> str:
    """Say who holds the store that the command needs for itself; empty if nobody does, as far as a first look tells.

    The lock itself decides later; this look comes before anything heavy is imported.
    """
    if arguments.command not in HOLD_THE_STORE or getattr(arguments, "action", "") == "list":
        return ""
    from erp.settings import SettingsError, open_site
    from erp.store_lock import StoreBusy, refuse_if_held

    default = DEMO_STORE if arguments.command == "demo" else None
    try:
        refuse_if_held(Path(open_site(getattr(arguments, "settings", None), store=arguments.store or default).store))
    except StoreBusy as busy:
        return str(busy)
    except (SettingsError, OSError):
        pass  # the command itself says what is wrong with them
    return ""


def _add(commands: Any, command: Command) -> None:
    added: argparse.ArgumentParser = commands.add_parser(
        command.name,
        help=command.what.split(";")[0],
        description=fill(f"{command.what[0].upper()}{command.what[1:]}.", 78),
        epilog=_examples(command.examples),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for option in command.options:
        added.add_argument(option.flag, **option.settings)


def _examples(examples: Iterable[tuple[str, str]]) -> str:
    rows = [f"  backorder {arguments}" + (f"\n      {what}" if what else "") for arguments, what in examples]
    return "\n".join(["examples:", *rows])


def _refused(why: str) -> int:
    print(f"backorder: refused\n{why}", file=sys.stderr)
    return EXIT_REFUSED


if __name__ == "__main__":
    sys.exit(main())
