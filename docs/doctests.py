"""Shows examples in docstrings as code, whether or not they stand under a heading."""

import re

import griffe

_EXAMPLE = re.compile(r"(?:^ *(?:>>>|\.\.\.)(?: .*)?\n?(?:^(?! *$).*\n?)*)+", re.M)


class Doctests(griffe.Extension):
    """Puts fences around doctests, which Markdown would take for quotations."""

    def on_instance(self, *, obj: griffe.Object, **kwargs) -> None:
        """Changes the docstring of what was read."""
        if obj.docstring:
            obj.docstring.value = fenced(obj.docstring.value)


def fenced(text: str) -> str:
    """Returns a docstring with fences around examples outside of sections."""

    def put(match: re.Match) -> str:
        example = match[0].rstrip("\n")
        indent = example[: len(example) - len(example.lstrip())]
        lines = [f"{indent}```pycon", example, f"{indent}```"]
        return "\n".join(lines) + match[0][len(example) :]

    parts = re.split(r"(^Examples:\n(?:(?: .*)?\n?)*)", text, flags=re.M)
    return "".join(
        part if part.startswith("Examples:\n") else _EXAMPLE.sub(put, part)
        for part in parts
    )
