"""What MkDocs does besides: help pages, and files of the repository beside docs/.

Pages link to files of the repository by their paths, so that the links work where the
repository is looked at. Those that are pages of the site, too, are linked there; of
others only the name is left.
"""

import contextlib
import io
import logging
import os
import posixpath
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
# Folders and files of the repository, and where they are in the site.
MOUNTED = {
    "tests/benchmarks/results": "results",
    "export": "export",
    "CHANGELOG.md": "CHANGELOG.md",
    "CONTRIBUTING.md": "CONTRIBUTING.md",
    "SECURITY.md": "SECURITY.md",
}
_KINDS = {".md", ".png", ".csv"}
_LINK = re.compile(r"(!?)\[([^\[\]]*)\]\(([^()\s]+)\)")
_LOADED = re.compile(
    r"<(?:script|img|iframe|link)\b[^>]*\b(?:src|href)=.?(?:https?:)?//"
)
_HELP = re.compile(r"^<!-- help of the commands -->$", re.MULTILINE)


def mounted_files() -> dict[str, str]:
    """Returns where files of the repository are in the site, by their paths."""
    found = {}
    for source, target in MOUNTED.items():
        place = ROOT / source
        for path in [place] if place.is_file() else sorted(place.rglob("*")):
            below = path.relative_to(ROOT).as_posix()
            is_kept = path.suffix in _KINDS and "node_modules" not in path.parts
            # Of export/ what tells people how to use it.
            if is_kept and (source != "export" or path.name == "README.md"):
                found[below] = target + below.removeprefix(source)
    return found


def on_files(files, config):
    """Adds the files of the repository that are pages or pictures of the site."""
    # Tests read this module without MkDocs.
    from mkdocs.structure.files import File

    for source, target in mounted_files().items():
        files.append(File.generated(config, target, abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown, page, config, files):
    """Fills in what `--help` says, and points links at what is in the site."""
    markdown = _HELP.sub(lambda _: commands(), markdown)
    sites = mounted_files()
    sources = {target: source for source, target in sites.items()}
    source = sources.get(page.file.src_uri, f"docs/{page.file.src_uri}")

    def point(match: re.Match) -> str:
        mark, text, url = match.groups()
        path, hashed, anchor = url.partition("#")
        if not path or "://" in path or path.startswith("mailto:"):
            return match[0]
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
        if (ROOT / target).is_dir() and f"{target}/README.md" in sites:
            target = f"{target}/README.md"
        there = sites.get(target, target.removeprefix("docs/"))
        if files.get_file_from_path(there) is None:
            # An error unless the repository has it: MkDocs tells of it.
            return text if (ROOT / target).exists() else match[0]
        start = posixpath.dirname(page.file.src_uri) or "."
        return f"{mark}[{text}]({posixpath.relpath(there, start)}{hashed}{anchor})"

    # Code is not looked at.
    parts = re.split(r"(^```.*?^```$)", markdown, flags=re.DOTALL | re.MULTILINE)
    return "".join(
        part if part.startswith("```") else _LINK.sub(point, part) for part in parts
    )


def on_post_page(output, page, config):
    """Warns of what a page would load from elsewhere, which is an error in the end."""
    for found in _LOADED.findall(output):
        logging.getLogger("mkdocs.hooks").warning(
            f"{page.file.src_uri} loads from elsewhere: {found}"
        )
    return output


def commands() -> str:
    """Returns the help of the program and of each command, as Markdown."""
    from egan_keras import cli

    texts = [f"```text\n{help_of()}\n```"]
    for name, line in cli.COMMANDS.items():
        texts.append(f"## {name}\n\n{line[0].upper()}{line[1:]}.")
        texts.append(f"```text\n{help_of(name)}\n```")
    return "\n\n".join(texts)


def help_of(*command: str) -> str:
    """Returns what a command's `--help` prints, for a screen of 88 columns."""
    from egan_keras import cli

    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "88"
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
            cli.parse([*command, "--help"])
    finally:
        os.environ.pop("COLUMNS")
        if before is not None:
            os.environ["COLUMNS"] = before
    return printed.getvalue().rstrip()
