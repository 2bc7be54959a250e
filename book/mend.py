"""Mend what the theme and its companions get wrong in a page."""

import posixpath
import re


def no_live_code(app, config) -> None:
    """Silence sphinx-thebe: turned off, it still declares a script on the network, twice on every page."""
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


def headers(part: re.Match) -> str:
    """Say of every header cell whether it heads a column or a row; an empty one heads nothing."""
    scope = "col" if part[1] == "thead" else "row"
    text = re.sub(r"<th(?=[\s>])(?![^>]*\bscope=)", f'<th scope="{scope}"', part[0])
    return re.sub(r"<th\b[^>]*>(\s|&nbsp;)*</th>", "<td></td>", text)


def mend(app, pagename, templatename, context, doctree) -> None:
    """The body of one page: links, code, tables, and a bibliography that calls itself a list without having items."""

    def to_page(match):  # links in a cell's output point at sources
        target = posixpath.normpath(posixpath.join(posixpath.dirname(pagename), match[1]))
        return f'href="{match[1]}.html{match[2] or ""}"' if target in app.env.found_docs else match[0]

    if context.get("body") and app.builder.format == "html":
        body = context["body"].replace('<div role="list" class="citation-list">', '<div class="citation-list">')
        body = re.sub(r'href="([\w./-]+)\.(?:ipynb|md)(#[^"]*)?"', to_page, body)
        body = re.sub(r'(<div class="highlight"><pre>(?:<span></span>)?)(.*?)(</pre>)', hanging, body, flags=re.DOTALL)
        context["body"] = re.sub(r"<(thead|tbody)\b.*?</\1>", headers, body, flags=re.DOTALL)


def setup(app):
    app.connect("config-inited", no_live_code)
    app.connect("html-page-context", mend)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
