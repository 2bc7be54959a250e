"""Formulas as MathML, by docutils' own converter: browsers draw them without a script and without the network."""

import re

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.util import logging

NAMED = r"<mi>\w\w+</mi>\s*<mo>&ApplyFunction;</mo>"  # log, exp, cos ...
SPACE = '<mspace width="0.1667em"></mspace>'


def mathml(node, block: bool) -> str:
    formula = node.astext()
    plain = re.sub(r"\\[bB]igg?[lmr]?(?![a-zA-Z])", "", formula)  # docutils knows \bigl, and not \big
    for given in (formula, plain):
        try:
            text = tex2mathml(given, as_block=block)
            break
        except MathError as error:
            reason = error
    else:  # a warning is an error in this book's build
        logging.getLogger(__name__).warning(f"{formula}: {reason}", location=node)
        return ""
    # A named function keeps its distance from a factor on its left, and from an argument without brackets.
    text = re.sub(rf"(</(?:mi|mn|msub|msup|msubsup|mfrac)>\s*)({NAMED})", rf"\1{SPACE}\2", text)
    return re.sub(rf"({NAMED})(?=\s*<(?!mo|mspace|mrow))", rf"\1{SPACE}", text)


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
