"""Mend what the theme and its companions get wrong in a page."""

import posixpath
import re

_NUMBER = r"[+−–-]?\d*\.?\d+ ?%?"
INTERVAL = re.compile(rf"\s+([(\[]{_NUMBER}(?: to |, |–){_NUMBER}[)\]])")  # in a table, as (0.52 to 0.57)

# What unfolds a cell's output says "code", as what unfolds its code above it does.
OUTPUT = re.compile(r'(<details class="admonition hide below-input">\s*<summary\b[^>]*>\s*<p\b[^>]*>Show) code'
                    r"(</p>\s*<p\b[^>]*>Hide) code(</p>)")  # fmt: skip


def no_live_code(app, config) -> None:
    """Silence sphinx-thebe: turned off, it still declares a script on the network, twice on every page."""
    app.registry.css_files[:] = [sheet for sheet in app.registry.css_files if "thebe" not in sheet[0]]
    for listeners in app.events.listeners.values():
        listeners[:] = [one for one in listeners if one.handler.__module__.partition(".")[0] != "sphinx_thebe"]


def hanging(code: re.Match) -> str:
    """Every line of a block of code as an element, so that what wraps is indented further than its line."""
    lines = []
    for line in code[2].removesuffix("\n").split("\n"):
        text = re.sub("<[^>]*>", "", line)
        indent = len(text) - len(text.lstrip(" "))
        style = f' style="--in:{indent}ch"' if indent else ""
        lines.append(f'<span class="line"{style}>{line}</span>')
    return code[1] + "\n".join(lines) + "\n" + code[3]


def prose(app, what, name, obj, options, lines: list[str]) -> None:
    """Docstrings as napoleon reads them: it takes a wrapped line for a type, and `Error : when` for a type alone.

    In a section, a line that is prose and its continuation become one; of `Raises`, what follows the colon is moved
    below. So the sources may keep to a line each.
    """
    section, out = "", []
    for at, line in enumerate(lines):
        under = lines[at + 1].strip() if at + 1 < len(lines) else ""
        if line and not line.startswith(" ") and under and set(under) == {"-"}:
            section = line
        raised = re.fullmatch(r"([\w, ]*(?:Error|Exception)\b[\w, ]*) : (.+)", line) if section == "Raises" else None
        if raised:
            out += [raised[1], "    " + raised[2]]
        elif section in ("Parameters", "Returns") and out and _goes_on(out[-1], line):
            out[-1] += " " + line.strip()
        else:
            out.append(line)
    lines[:] = out


def _goes_on(before: str, line: str) -> bool:
    """Whether a line of a section is the rest of the one before: that one filled its line, and neither is a rule."""
    wrapped = len(before) > 88 and not before.startswith(" ") and not before.endswith(".")
    return bool(line.strip()) and wrapped and set(line.strip()) != {"-"}


def one_row(head: str) -> str:
    """The names of a table's rows stand in a second line of headers, which is else empty: one line holds both."""
    rows = re.findall(r"<tr\b.*?</tr>", head, flags=re.DOTALL)
    if len(rows) != 2:
        return head
    over, under = ([cell[0] for cell in re.finditer(r"<th\b[^>]*>(.*?)</th>", row, flags=re.DOTALL)] for row in rows)
    blank = [[not re.sub(r"<[^>]*>|&nbsp;|\s", "", cell) for cell in cells] for cells in (over, under)]
    if len(over) != len(under) or not all(map(max, *blank)):
        return head
    cells = (low if empty else high for high, low, empty in zip(over, under, blank[0]))
    return head.replace(rows[1], "").replace(rows[0], "<tr>" + "".join(cells) + "</tr>")


def table_part(part: re.Match) -> str:
    """Say of every header cell whether it heads a column or a row; an empty one heads nothing. Intervals stay whole."""
    if part[1] == "thead" and not re.sub(r"<[^>]*>|&nbsp;|\s", "", part[0]):
        return ""  # Markdown knows no table without one
    scope = "col" if part[1] == "thead" else "row"
    text = one_row(part[0]) if part[1] == "thead" else INTERVAL.sub(r' <span class="interval">\1</span>', part[0])
    text = re.sub(r"<th(?=[\s>])(?![^>]*\bscope=)", f'<th scope="{scope}"', text)
    return re.sub(r"<th\b[^>]*>(\s|&nbsp;|</?p>)*</th>", "<td></td>", text)


def mend(app, pagename, templatename, context, doctree) -> None:
    """The body of one page: links, code, tables, and a bibliography that calls itself a list without having items."""

    def to_page(match):  # links in a cell's output point at sources
        target = posixpath.normpath(posixpath.join(posixpath.dirname(pagename), match[1]))
        return f'href="{match[1]}.html{match[2] or ""}"' if target in app.env.found_docs else match[0]

    if context.get("body") and app.builder.format == "html":
        body = context["body"].replace('<div role="list" class="citation-list">', '<div class="citation-list">')
        body = OUTPUT.sub(r"\1 output\2 output\3", body)
        body = re.sub(r'href="([\w./-]+)\.(?:ipynb|md)(#[^"]*)?"', to_page, body)
        body = re.sub(r'(<div class="highlight"><pre>(?:<span></span>)?)(.*?)(</pre>)', hanging, body, flags=re.DOTALL)
        context["body"] = re.sub(r"<(thead|tbody)\b.*?</\1>", table_part, body, flags=re.DOTALL)


def setup(app):
    app.connect("config-inited", no_live_code)
    app.setup_extension("sphinx.ext.autodoc")
    app.connect("autodoc-process-docstring", prose, priority=400)  # before napoleon
    app.connect("html-page-context", mend)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
