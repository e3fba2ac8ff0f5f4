"""Sphinx configuration."""

import braggstream

project = "Braggstream"
author = "the Braggstream developers"
copyright = "2026, the Braggstream developers"
release = version = braggstream.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build", "explanation/cost-figures.md"]
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_mock_imports = []
html_theme = "furo"
html_title = f"Braggstream {release}"
nitpicky = False


def write_option_table(app):
    """Write the page of options from the table that the parser is made from."""
    from pathlib import Path

    from braggstream.cli.option_table import GROUPS

    lines = [
        "# Options of indexamajig",
        "",
        "All of CrystFEL's options are understood. Ours beyond them are marked.",
        "",
    ]
    for title, options in GROUPS.items():
        shown = [option for option in options if not option.hidden]
        if not shown:
            continue
        lines += [f"## {title}", "", "| Option | Default | Meaning |", "|---|---|---|"]
        for option in shown:
            names = ", ".join(f"`{name}`" for name in option.names)
            argument = f" *{option.argument}*" if option.argument else ""
            default = "" if option.kind in ("flag", "undo") or option.default in (None, "") else option.default
            if option.kind == "radii" and default:
                default = ",".join(f"{radius:g}" for radius in default)
            note = {"refused": "**refused**: ", "ignored": "*accepted without effect*: "}.get(option.kind, "")
            lines.append(f"| {names}{argument} | {default} | {note}{option.help} |")
        lines.append("")
    lines += [
        "## Other engines",
        "",
        "The options of engines that this version lacks are accepted without effect, with a line that says so,",
        "so that scripts keep running; choosing such an engine with `--indexing` is an error that says so.",
        "",
    ]
    Path(app.srcdir, "reference", "options.md").write_text("\n".join(lines))


def setup(app):
    app.connect("builder-inited", write_option_table)
