"""The parser of both command lines, ``recpack`` and ``recpack-train``: argparse's, with errors of
three lines at most, and the commands ``help`` and ``completion``."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from importlib import import_module
from typing import Any, NoReturn

from recpack.display import did_you_mean

_PROGRAMS = {"recpack": "recpack.cli.parser", "recpack-train": "train.cli"}
"""Where the ``GROUPS`` of each program's commands are."""
SHELLS = ("bash", "zsh", "fish")
_EXPECTED: dict[Any, str] = {int: "a whole number", float: "a number"}
_SHORTER = (
    (r"^the following arguments are required: ", "missing: "),
    (r"^argument (-\w/)?|(?<=not allowed with )argument (-\w/)?", ""),
    (r": (?=must (not )?be )", " "),
    (r"ignored explicit argument .*", "takes no value"),
    (r"expected one argument", "a value is missing"),
)
"""What argparse says, and what we say."""
_TWINS = {"--split": "--fractions", "--fractions": "--split"}
"""Options that are one thing and have another name in another command."""
_FOLDER = r"DIR|ROOT"
_FILE = r"DEVKIT|DATASET|LIST|FILE|PATH|REC|JOB|MODEL|IMAGE|\.[a-z]{3}"


class Parser(argparse.ArgumentParser):
    """``example``: lines for the end of the help · ``groups``: the commands by the titles that the
    help shows them under · ``has_json``: whether the commands have ``--json``, so that errors are
    JSON too."""

    def __init__(
        self, *, example: str = "", groups: Mapping[str, Sequence[str]] | None = None,
        add_help: bool = True, has_json: bool = True, **keywords: Any,
    ) -> None:  # fmt: skip
        super().__init__(
            allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter,
            add_help=False, **keywords,
        )  # fmt: skip
        self._example, self._groups, self._json = example, groups, False
        self._has_json = has_json
        self._positionals.title = "arguments"
        if add_help:
            self.general.add_argument("-h", "--help", action="help", help="show this help")

    @cached_property
    def general(self) -> argparse._ArgumentGroup:
        """The group that the help shows last."""
        return self.add_argument_group("general")

    def add_version(self, version: str) -> None:
        self.general.add_argument(
            "-V", "--version", action="version", version=f"{self.prog} {version}",
            help="show the version",
        )  # fmt: skip

    def add_help_commands(
        self, commands: argparse._SubParsersAction[Parser], whole: Callable[[], Parser]
    ) -> None:
        """Add ``help`` and ``completion``. ``whole`` makes this parser with all options."""
        help = commands.add_parser(
            "help", help="show the help of a command", description="Show the help of a command.",
            example=f"{self.prog} help {next(iter(commands.choices))}",
        )  # fmt: skip
        suggest(
            help.add_argument("name", nargs="?", metavar="COMMAND", help="default: all commands"),
            commands.choices,
        )
        completion = commands.add_parser(
            "completion", help="print a script that lets a shell complete this command line",
            description="Print a script that lets a shell complete commands, options, their values "
            "and file names.",
            example=f'eval "$({self.prog} completion bash)"      in ~/.bashrc\n'
            f'  eval "$({self.prog} completion zsh)"       in ~/.zshrc, after compinit\n'
            f"  {self.prog} completion fish | source       in ~/.config/fish/config.fish",
        )  # fmt: skip
        completion.add_argument(
            "shell", choices=SHELLS, metavar="SHELL", action=_Completion, const=whole,
            help=", ".join(SHELLS),
        )  # fmt: skip

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        words = list(sys.argv[1:] if args is None else args)
        most = {"help": 2, "-V": 1, "--version": 1}.get(words[0]) if words else None
        if most is not None and len(words) > most:
            self.error(f"{words[most]!r} is one too many")
        if words[:1] == ["help"]:
            words = [*words[1:], "--help"]
        if not words and self._groups:
            self.print_help(sys.stderr)
            self.exit(2)
        return super().parse_args(words, namespace)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse's, but nothing may be left: the parser of the command tells of it."""
        words = list(args)
        self._json = self._has_json and "--json" in words
        for word in words:
            if word == "--" or (self._groups and not word.startswith("-")):
                break
            plain = "--" + word.lstrip("—–-")
            if word[:1] in ("—", "–") and not self._is_unknown(plain):  # as text programs make them
                self.error(f"{word!r} begins with a long dash; write {plain}")
            if self._is_unknown(word):
                name = word.partition("=")[0]
                hint = did_you_mean(_TWINS.get(name, name), self._option_string_actions)
                if any(name in one._option_string_actions for one in _parsers(self)):
                    hint = f"; write it after the command: {self.prog} COMMAND {name}"
                self.error(f"unknown option {name!r}{hint}")
        found, surplus = super().parse_known_args(words, namespace)
        if surplus:
            self.error(f"{surplus[0]!r} is one too many")
        return found, surplus

    def _is_unknown(self, word: str) -> bool:
        """Whether argparse takes a word for an option, and there is none of this name."""
        name, known = word.partition("=")[0], self._option_string_actions
        if not word.startswith("-") or word == "-" or " " in name or name in known:
            return False
        if self._negative_number_matcher.match(word):
            return False
        return word.startswith("--") or word[:2] not in known

    def _match_argument(self, action: argparse.Action, arg_strings_pattern: str) -> int:
        try:
            return super()._match_argument(action, arg_strings_pattern)
        except argparse.ArgumentError as error:
            if not isinstance(action.metavar, tuple):
                raise
            message = f"{len(action.metavar)} values are needed: {' '.join(action.metavar)}"
            raise argparse.ArgumentError(action, message) from error

    def _get_values(self, action: argparse.Action, arg_strings: list[str]) -> Any:
        of_command = isinstance(action, argparse._SubParsersAction)
        # a variable of the shell that is not set; numbers say what they expect
        if "" in arg_strings and not of_command and action.type not in _EXPECTED:
            raise argparse.ArgumentError(action, "must not be empty")
        return super()._get_values(action, arg_strings)

    def _get_value(self, action: argparse.Action, arg_string: str) -> Any:
        try:
            return super()._get_value(action, arg_string)
        except argparse.ArgumentError as error:
            if (expected := _EXPECTED.get(action.type)) is None:
                raise
            message = f"must be {expected} (got {arg_string!r})"
            raise argparse.ArgumentError(action, message) from error

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is None or value in action.choices:
            return
        near = did_you_mean(str(value), map(str, action.choices))
        if isinstance(action, argparse._SubParsersAction):
            if other := _other_program(self.prog, value):
                near = f"; it is a command of {other}: {other} {value}"
            elif not near and os.path.exists(value):
                near = f"; name the command first: {self.prog} COMMAND {value}"
            raise argparse.ArgumentError(None, f"unknown command {value!r}{near}")
        names = ", ".join(map(str, action.choices))
        raise argparse.ArgumentError(action, f"must be one of {names} (got {value!r}){near}")

    def error(self, message: str) -> NoReturn:
        """End with exit code 2: what is wrong, an example where something is missing, and where
        the help is."""
        for pattern, instead in _SHORTER:
            message = re.sub(pattern, instead, message)
        if self._json:
            import json

            print(json.dumps({"error": message, "problems": []}))
        lines = [f"{self.prog}: {message}"]
        if message.startswith("missing") and self._example:
            lines.append(f"example: {self._example.splitlines()[0]}")
        self.exit(2, "\n".join([*lines, f"help: {self.prog} --help"]) + "\n")

    def format_help(self) -> str:
        """The usage, what it is, arguments, usual options, groups of options, general ones. A
        parser with ``groups`` shows its commands."""
        formatter = self._get_formatter()
        needed = [one for one in self._actions if one.option_strings and one.required]
        rest = argparse.Action([], "options", metavar="[OPTIONS]")
        formatter.add_usage(None, [*needed, rest, *self._get_positional_actions()], [])
        formatter.add_text(self.description)
        sections = sorted(self._action_groups, key=lambda section: section is self.general)
        arguments = sections[0]
        for section in sections:
            if not (section is arguments and self._groups):
                formatter.start_section(section.title)
                formatter.add_text(section.description)
                formatter.add_arguments(section._group_actions)
                formatter.end_section()
            elif self._subparsers is not None:
                (commands,) = self._subparsers._group_actions
                by_name = {one.dest: one for one in commands._get_subactions()}  # type: ignore[attr-defined]
                for title, names in (self._groups or {}).items():
                    formatter.start_section(title)
                    formatter.add_arguments([by_name[name] for name in names if name in by_name])
                    formatter.end_section()
        if self._example:
            formatter.add_text(f"example:\n  {self._example}")
        return formatter.format_help()


def _other_program(program: str, command: str) -> str | None:
    """The other of the two programs, if it has this command."""
    for other, module in _PROGRAMS.items():
        with suppress(ImportError):
            if other != program and any(
                command in names for names in import_module(module).GROUPS.values()
            ):
                return other
    return None


def suggest(action: argparse.Action, words: Iterable[str]) -> None:
    """Values that a shell completes, where others are possible too."""
    action.words = list(words)  # type: ignore[attr-defined]


class _Completion(argparse.Action):
    """Print the script, and end."""

    def __call__(self, parser: argparse.ArgumentParser, _: Any, shell: Any, *__: Any) -> None:
        import shtab  # only for this

        whole = self.const()
        for one in _parsers(whole):
            for action in one._actions:
                action.choices = getattr(action, "words", action.choices)
                for pattern, kind in ((_FOLDER, shtab.DIRECTORY), (_FILE, shtab.FILE)):
                    if not action.choices and re.search(pattern, str(action.metavar)):
                        action.complete = kind  # type: ignore[attr-defined]
                if action.option_strings:
                    action.metavar = None  # zsh would take its colons for its own
        print(shtab.complete(whole, shell))
        parser.exit()


def _parsers(parser: Parser) -> Iterable[Parser]:
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for one in action.choices.values():
                yield from _parsers(one)
