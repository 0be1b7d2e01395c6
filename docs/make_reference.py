"""Write docs/reference: the command's pages from its help, those of Python from signatures and docstrings.

python docs/make_reference.py
"""

import ast
import importlib
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import click

import dcz
from dcz import cli
from dcz.cli.help import EXIT_CODES

HERE = Path(__file__).resolve().parent
WRITTEN = "<!-- Written by `make reference`: change the help or the docstring, and not this page. -->\n"


def main() -> None:
    """Write every page."""
    for name, text in pages().items():
        path = HERE / "reference" / name
        path.write_text(text)
        print(path)


def pages() -> dict[str, str]:
    """The text of each page, by its name in docs/reference."""
    return {"cli.md": command_line(), "python.md": python()}


def command_line() -> str:
    """Every command with its options, and the exit codes."""
    group = cli.cli
    context = click.Context(group, info_name="dcz", **group.context_settings)
    parts = ["# The command\n", WRITTEN, *_prose(group.help or "")]
    parts.append("| command | |\n|---|---|\n" + "".join(_rows(group, context)))
    for name in cli.COMMANDS:
        command = group.get_command(context, name)
        if command is None:
            raise SystemExit(f"dcz {name}: there is no such command")
        parts += _command(command, click.Context(command, info_name=name, parent=context))
    parts += ["## Exit codes\n", "| code | |\n|---|---|\n" + "".join(_exit_codes())]
    return _page(parts)


def _rows(group: click.Group, context: click.Context) -> Iterator[str]:
    for name in cli.COMMANDS:
        command = group.get_command(context, name)
        first = inspect.cleandoc((command and command.help) or "").split("\n\n")[0]
        yield f"| [`dcz {name}`](#dcz-{name}) | {_cell(first)} |\n"


def _command(command: click.Command, context: click.Context) -> list[str]:
    """A heading, how it is called, its help, and a table of its options for each of their sections."""
    parts = [f"## dcz {context.info_name}\n", f"```text\n{context.command_path} {_usage(command, context)}\n```\n"]
    parts += _prose(command.help or "")
    for title, options in _sections(command, context).items():
        rows = "".join(f"| {_cell(names, code=True)} | {_cell(text)} |\n" for names, text in options)
        parts.append(f"| {title} | |\n|---|---|\n{rows}")
    return parts


def _usage(command: click.Command, context: click.Context) -> str:
    return " ".join(command.collect_usage_pieces(context))


def _sections(command: click.Command, context: click.Context) -> dict[str, list[tuple[str, str]]]:
    """Names and texts of the options by section, as the help shows them, whatever way it was made."""
    formatter = click.HelpFormatter(width=1 << 16, max_width=1 << 16)
    command.format_options(context, formatter)
    options = [param for param in command.get_params(context) if isinstance(param, click.Option)]
    known = [record for option in options if (record := option.get_help_record(context))]
    sections: dict[str, list[tuple[str, str]]] = {}
    for line in formatter.getvalue().splitlines():
        if line and not line.startswith(" "):
            rows = sections.setdefault(line.rstrip(":"), [])
        for names, text in known:
            if re.match(rf" +{re.escape(names)}(  |$)", line):
                rows.append((names, text))
    if sorted(record for records in sections.values() for record in records) != sorted(known):
        raise SystemExit(f"{context.command_path}: its help does not show every option")
    return sections


def _exit_codes() -> Iterator[str]:
    """The table of `dcz help exit-codes`, one row a code."""
    for code, text in EXIT_CODES.items():
        yield f"| {code} | {_cell(text)} |\n"


def _prose(text: str) -> Iterator[str]:
    """The paragraphs of a help text; those that click leaves as they are become blocks."""
    for paragraph in inspect.cleandoc(text).split("\n\n"):
        if paragraph.startswith("\b\n"):
            yield f"```text\n{paragraph[2:]}\n```\n"
        else:
            yield _marked(" ".join(paragraph.split())) + "\n"


def _marked(text: str) -> str:
    """Prose of a help text, in which options are set as code."""
    return re.sub(r"(?<![\w`-])(--?[a-z][\w-]*)", r"`\1`", text)


def _cell(text: str, code: bool = False) -> str:
    text = " ".join(text.split()).replace("|", "\\|")
    return f"`{text}`" if code else _marked(text.replace("<", "&lt;"))


def python() -> str:
    """Every public name with its signature and docstring."""
    parts = ["# Python\n", WRITTEN, *_prose((dcz.__doc__ or "").split("\n\n")[0])]
    parts.append("```text\nimport dcz\n```\n")
    for name in sorted(dcz.__all__, key=lambda each: (each[0].isupper(), each)):
        parts += [f"## dcz.{name}\n", *_public(name, getattr(dcz, name))]
    return _page(parts)


def _public(name: str, value: object) -> Iterator[str]:
    """The section of a public name."""
    if isinstance(value, dict):
        yield "".join(f"- `{key}`: {_cell(str(entry))}\n" for key, entry in value.items())
        return
    node = _definition(value)
    yield f"```text\n{_signature(node, name)}\n```\n"
    yield from _docstring(node)
    for member in node.body if isinstance(node, ast.ClassDef) else ():
        if isinstance(member, ast.FunctionDef) and not member.name.startswith("_"):
            yield f"**`{_signature(member, member.name)}`**\n"
            yield from _docstring(member)


def _definition(value: object) -> ast.FunctionDef | ast.ClassDef:
    """Where a function or class is defined, as its module has it: that is the same under every Python."""
    module = importlib.import_module(value.__module__)
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name == value.__name__:
            return node
    raise SystemExit(f"{value}: its definition is not found")


def _signature(node: ast.FunctionDef | ast.ClassDef, name: str) -> str:
    """`name(arguments) -> result`; of a class its fields, or the arguments that make it; of an exception its bases."""
    if isinstance(node, ast.FunctionDef):
        arguments = [argument for argument in _arguments(node.args) if argument not in ("self", "cls")]
        result = f" -> {ast.unparse(node.returns)}" if node.returns else ""
        return _wrapped(name, arguments, result)
    maker = next((each for each in node.body if isinstance(each, ast.FunctionDef) and each.name == "__init__"), None)
    if maker is not None:
        return _wrapped(name, [argument for argument in _arguments(maker.args) if argument != "self"], "")
    fields = [ast.unparse(each) for each in node.body if isinstance(each, ast.AnnAssign)]
    if fields and any("dataclass" in ast.unparse(each) for each in node.decorator_list):
        return _wrapped(name, fields, "")
    return f"class {name}({', '.join(ast.unparse(base) for base in node.bases)})"


def _arguments(arguments: ast.arguments) -> list[str]:
    """The arguments of a function, each with its type and default, and the marks between them."""
    first = [*arguments.posonlyargs, *arguments.args]
    defaults = [None] * (len(first) - len(arguments.defaults)) + list(arguments.defaults)
    found = [_argument(*pair) for pair in zip(first, defaults, strict=True)]
    if arguments.posonlyargs:
        found.insert(len(arguments.posonlyargs), "/")
    if arguments.vararg:
        found.append(f"*{_argument(arguments.vararg, None)}")
    elif arguments.kwonlyargs:
        found.append("*")
    found += [_argument(*pair) for pair in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)]
    return found + ([f"**{_argument(arguments.kwarg, None)}"] if arguments.kwarg else [])


def _argument(argument: ast.arg, default: ast.expr | None) -> str:
    kind = f": {ast.unparse(argument.annotation)}" if argument.annotation else ""
    if default is None:
        return argument.arg + kind
    return f"{argument.arg}{kind}{' = ' if kind else '='}{ast.unparse(default)}"


def _wrapped(name: str, arguments: list[str], result: str) -> str:
    """A call on one line where that is short, else an argument a line."""
    line = f"{name}({', '.join(arguments)}){result}"
    return line if len(line) <= 100 else f"{name}(\n" + "".join(f"    {each},\n" for each in arguments) + f"){result}"


def _docstring(node: ast.FunctionDef | ast.ClassDef) -> Iterator[str]:
    """The paragraphs of a docstring; lines that are set in stay as they are."""
    for paragraph in (ast.get_docstring(node) or "").split("\n\n"):
        set_in = all(line.startswith("    ") for line in paragraph.splitlines())
        yield f"```text\n{inspect.cleandoc(paragraph)}\n```\n" if set_in and paragraph else f"{paragraph}\n"


def _page(parts: list[str]) -> str:
    return re.sub(r"\n{3,}", "\n\n", "\n".join(parts).strip() + "\n")


if __name__ == "__main__":
    sys.exit(main())
