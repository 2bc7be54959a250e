"""Formulas as MathML, by docutils' own converter: browsers draw them without a script and without the network."""

import re

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.util import logging


def mathml(node, block: bool) -> str:
    text = re.sub(r"\\[bB]igg?[lmr]?(?![a-zA-Z])", "", node.astext())  # brackets stretch by themselves in MathML
    try:
        return tex2mathml(text, as_block=block)
    except MathError as error:  # a warning is an error in this book's build
        logging.getLogger(__name__).warning(f"{node.astext()}: {error}", location=node)
        return ""


def inline(self, node):
    self.body.append(mathml(node, block=False))
    raise nodes.SkipNode


def block(self, node):
    number = f'<span class="eqno">({node["number"]})</span>' if node["number"] else ""
    self.body.append(f"{self.starttag(node, 'div', CLASS='math')}{number}{mathml(node, block=True)}</div>")
    raise nodes.SkipNode


def setup(app):
    app.add_html_math_renderer("mathml", (inline, None), (block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
