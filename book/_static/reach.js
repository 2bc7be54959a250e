/* What scrolls sideways can be reached and scrolled by keyboard, and says what it is; what fits is no stop on the way. */
(() => {
  const KINDS = [
    [".pst-scrollable-table-container, .cell_output .text_html, .table-wrapper", "Table"],
    ["pre", "Code"],
    ["div.math", "Formula"],
  ];

  function mark() {
    for (const [boxes, name] of KINDS) {
      for (const box of document.querySelectorAll(`main :is(${boxes})`)) {
        if (box.scrollWidth > box.clientWidth + 1) {
          box.tabIndex = 0;
          box.setAttribute("role", "region");
          box.setAttribute("aria-label", `${name}, scrolls sideways`);
        } else if (box.getAttribute("role") === "region") {
          for (const given of ["tabindex", "role", "aria-label"]) box.removeAttribute(given);
        }
      }
    }
  }

  function start() {
    const watch = new ResizeObserver(() => requestAnimationFrame(mark));
    watch.observe(document.querySelector("main") || document.body);
    document.addEventListener("toggle", mark, true); // a folded cell opens
    mark();
  }

  document.readyState === "loading" ? document.addEventListener("DOMContentLoaded", start) : start();
})();
