/* A glossary term says what it means on hover and on focus; Escape closes it. Definitions: terms-data.js. */
(() => {
  const tip = Object.assign(document.createElement("div"), { id: "term-tip", hidden: true });
  tip.setAttribute("role", "tooltip");
  let shownAt = null;

  function show(link) {
    tip.innerHTML = window.TERMS[link.hash.slice(1)];
    tip.hidden = false;
    link.setAttribute("aria-describedby", tip.id);
    shownAt = link;
    const word = link.getClientRects()[0];
    const below = word.bottom + tip.offsetHeight + 12 < innerHeight;
    tip.style.left = `${Math.max(8, Math.min(word.left, innerWidth - tip.offsetWidth - 8))}px`;
    tip.style.top = `${below ? word.bottom + 4 : Math.max(8, word.top - tip.offsetHeight - 4)}px`;
  }

  function hide() {
    tip.hidden = true;
    shownAt?.removeAttribute("aria-describedby");
    shownAt = null;
  }

  function start() {
    if (!window.TERMS || /\/glossary\.html$/.test(location.pathname)) return;
    document.body.append(tip);
    for (const link of document.querySelectorAll('article a[href*="#term-"]:not(.indextable a)')) {
      if (!(link.hash.slice(1) in window.TERMS)) continue;
      link.classList.add("term");
      link.addEventListener("pointerenter", () => show(link));
      link.addEventListener("focus", () => show(link));
      // The pointer may go onto the definition itself, to read or to copy it.
      link.addEventListener("pointerleave", () => setTimeout(() => tip.matches(":hover") || hide(), 100));
      link.addEventListener("blur", hide);
    }
    tip.addEventListener("pointerleave", hide);
    document.addEventListener("keydown", event => event.key === "Escape" && hide());
    document.addEventListener("scroll", () => shownAt && show(shownAt), { passive: true }); // focus scrolls, too
  }

  document.readyState === "loading" ? document.addEventListener("DOMContentLoaded", start) : start();
})();
