/* A figure opens large on a click or on Enter; Escape, a click or the button closes it. */
(() => {
  function start() {
    const dialog = document.createElement("dialog");
    dialog.id = "zoom";
    dialog.setAttribute("aria-label", "Figure, enlarged");
    dialog.innerHTML = '<button type="button" aria-label="Close">×</button><img alt="">';
    document.body.append(dialog);
    const large = dialog.querySelector("img");
    dialog.addEventListener("click", () => dialog.close());

    for (const image of document.querySelectorAll("main article img")) {
      if (image.closest("a, button")) continue;
      const button = Object.assign(document.createElement("button"), { type: "button", className: "zoom" });
      button.setAttribute("aria-label", `Enlarge: ${image.alt || "figure"}`);
      image.replaceWith(button);
      button.append(image);
      button.addEventListener("click", () => {
        large.src = image.src;
        large.alt = image.alt;
        dialog.showModal();
      });
    }
  }

  document.readyState === "loading" ? document.addEventListener("DOMContentLoaded", start) : start();
})();
