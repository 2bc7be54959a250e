/* Columns of words read from the left, columns of numbers from the right. What scrolls sideways can be reached and
   scrolled by keyboard, and says what it is; what fits is no stop on the way. */
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

  function align(table) {
    const rows = [...table.tBodies[0]?.rows ?? []];
    const fromRight = (row, place) => row.cells[row.cells.length - place]; // row names may span rows, values never do
    const width = Math.max(0, ...rows.map(row => row.querySelectorAll("td").length));
    for (let place = 1; place <= width; place++) {
      const cells = rows.map(row => fromRight(row, place)).filter(cell => cell?.textContent.trim());
      const words = cells.filter(cell => !/^[\s+−–-]*[.,]?\d/.test(cell.textContent));
      if (words.length * 2 <= cells.length) continue;
      [...table.rows].map(row => fromRight(row, place)).forEach(cell => cell?.classList.add("words"));
    }
  }

  function start() {
    document.querySelectorAll("main table.dataframe").forEach(align);
    const watch = new ResizeObserver(() => requestAnimationFrame(mark));
    watch.observe(document.querySelector("main") || document.body);
    document.addEventListener("toggle", mark, true); // a folded cell opens
    mark();
  }

  document.readyState === "loading" ? document.addEventListener("DOMContentLoaded", start) : start();
})();
