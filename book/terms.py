"""Glossary terms: the first use on a page links to the glossary, and its definition is there without leaving the page.

The definitions go into a script of the book, because a browser does not let a page read other files from a disk.
"""

import html
import json
import re
from pathlib import Path

from docutils import nodes
from mathml import mathml
from sphinx import addnodes

GLOSSARY = "book/glossary"
# Words with a second, everyday meaning: only a writer's own {term} links them.
EVERYDAY = {"ap", "finding", "run", "sign", "profile", "protocol", "weighting", "focusing", "hub"}
NO_PROSE = (nodes.reference, nodes.title, nodes.literal, nodes.literal_block, nodes.math, nodes.caption, nodes.raw,
            nodes.rubric, nodes.table, nodes.term, addnodes.desc, addnodes.pending_xref)  # fmt: skip


def plain(node: nodes.Element) -> str:
    """The text of a node as HTML, with its formulas and without its links."""
    if isinstance(node, nodes.math):
        return mathml(node, block=False)
    return html.escape(node.astext()) if isinstance(node, nodes.Text) else "".join(map(plain, node.children))


def definitions(glossary: nodes.document) -> list[tuple[str, str, str]]:
    """(anchor, term, definition as HTML) of every term of the glossary page."""
    found = []
    for item in glossary.findall(nodes.definition_list_item):
        text = " ".join(plain(item.next_node(nodes.definition)).split())
        found += [(term["ids"][0], term.astext(), text) for term in item.findall(nodes.term) if term["ids"]]
    return found


def is_prose(text: nodes.Text) -> bool:
    node = text.parent
    while node is not None:
        if isinstance(node, NO_PROSE):
            return False
        node = node.parent
    return True


def link_first_uses(app, doctree: nodes.document, docname: str) -> None:
    """Make the first mention of each term in a page's prose a link to the glossary, if the page has none to it."""
    if docname == GLOSSARY or GLOSSARY not in app.env.found_docs or app.builder.format != "html":
        return
    given = {link.get("refuri", "").partition("#")[2] for link in doctree.findall(nodes.reference)}
    terms = {term.lower(): anchor for anchor, term, _ in definitions(app.env.get_doctree(GLOSSARY))
             if term.lower() not in EVERYDAY and anchor not in given}  # fmt: skip
    for text in filter(is_prose, list(doctree.findall(nodes.Text))):
        parts, rest = [], str(text)
        while match := first_of(terms, rest):
            uri = f"{app.builder.get_relative_uri(docname, GLOSSARY)}#{terms.pop(match[1].lower())}"
            parts += [nodes.Text(rest[: match.start()]), nodes.reference("", match[0], refuri=uri, internal=True)]
            rest = rest[match.end() :]
        if parts:
            text.parent.replace(text, [*parts, nodes.Text(rest)])


def first_of(terms: dict[str, str], text: str) -> re.Match | None:
    """The first of the terms in a text; long names first: "visual feature extractor" is one term."""
    names = "|".join(map(re.escape, sorted(terms, key=len, reverse=True)))
    return re.search(rf"(?<![\w-])({names})s?(?![\w-])", text, re.IGNORECASE) if names else None


def write_definitions(app, error: Exception | None) -> None:
    """{anchor: definition} as a script beside the book's other ones."""
    if error is None and app.builder.format == "html" and GLOSSARY in app.env.found_docs:
        found = {anchor: text for anchor, _, text in definitions(app.env.get_doctree(GLOSSARY))}
        text = f"window.TERMS = {json.dumps(found, ensure_ascii=False)};\n"
        (Path(app.outdir) / "_static/terms-data.js").write_text(text, encoding="utf-8")


def setup(app):
    app.connect("doctree-resolved", link_first_uses)
    app.connect("build-finished", write_definitions)
    app.add_js_file("terms-data.js", loading_method="defer")
    app.add_js_file("terms.js", loading_method="defer")
    return {"parallel_read_safe": True, "parallel_write_safe": True}
