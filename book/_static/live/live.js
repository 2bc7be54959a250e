// The page: what the reader chose, and everything that follows from it. The arithmetic is in net.js, the data in films.js.
"use strict";

const $ = (id) => document.getElementById(id);
const plain = (sign) => sign.replaceAll("_", " ");
const make = (tag, attributes = {}, ...children) => {
  const drawing = ["circle", "text", "path", "line", "title"].includes(tag);
  const element = drawing ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) if (value !== false) element.setAttribute(name, value === true ? "" : value);
  element.append(...children);
  return element;
};
const SAYS = {
  description: "Two sentences about each finding, as a text encoder reads them.",
  signs: "Each finding’s list of radiographic signs, one sentence per sign.",
  shuffled: "Each finding has the signs of another one: a control that cannot know.",
};
const { findings, signs, tray } = LIVE;
const presets = [...findings, { name: LIVE.experiments.abscess.name, signs: LIVE.experiments.abscess.signs, synonyms: [] }];
const own = { key: "own", name: "Your words" };
const state = { film: 0, told: "signs", words: [], name: "", row: null, experiment: null };
const nets = {};           // told -> tensors
const covered = new Map(); // film and told -> places of the film with one square covered after the other
let signVectors, latest = 0;

tray.forEach((film) => { if (film.pixels) film.pixels = Uint8Array.from(atob(film.pixels), (c) => c.charCodeAt(0)); });

// A network is loaded when the switch first asks for it: a script, because file:// allows nothing else.
async function load(told) {
  if (nets[told]) return nets[told];
  if (!window.LIVE_WEIGHTS?.[told])
    await new Promise((onload, onerror) => document.head.append(Object.assign(make("script", { src: `weights-${told}.js` }), { onload, onerror })));
  signVectors ??= (await unpack(LIVE.told)).told;
  return (nets[told] ??= await unpack(LIVE_WEIGHTS[told]));
}

// Everything about one film under one network: scores, places, how many normal films score lower.
function read(film, told, words) {
  const net = nets[told], source = tray[film].source;
  const number = tray.slice(0, film).filter((other) => other.source === "real").length;
  const visual = source === "phantom" ? place(tray[film].pixels, net) : rows(net["real.films"])[number];
  const anchors = rows(net[`${source}.anchors`]), normal = rows(net[`${source}.normal`]);
  const list = findings.map((finding, i) => ({ ...finding, anchor: anchors[i] }));
  if (words.length && told !== "description")
    list.push({ ...own, name: state.name || own.name, signs: words.map((i) => signs[i].name), anchor: placeOfSigns(words, signVectors, net, source) });
  for (const row of list) {
    const others = normal.map((v) => score(v, row.anchor)).sort((a, b) => a - b);
    Object.assign(row, { score: score(visual, row.anchor), median: others[others.length >> 1] });
    Object.assign(row, { above: others.filter((s) => s < row.score).length, right: tray[film].labels?.includes(row.key) });
  }
  list.sort((a, b) => b.score - a.score).forEach((row, i) => (row.rank = i + 1));
  return { list, visual, normal, anchors, net, source };
}

const shown = (film) => (film.labels ? film.labels.map((key) => findings.find((f) => f.key === key).name).join(" and ") || "no finding" : "your own picture");
const title = (film) => (film.source === "real" ? `Real film ${film.image} (${film.view}), labelled: ${shown(film)}`
  : film.labels ? `Phantom, drawn with: ${shown(film)}` : `${film.name}, read as if it were a phantom`);

async function update() {
  const turn = ++latest;
  await load(state.told);
  if (turn !== latest) return;
  const film = tray[state.film], now = read(state.film, state.told, state.words);
  const row = now.list.find((r) => r.key === state.row) ?? now.list[0];
  drawRanks(now.list, row, now.normal.length);
  drawFilm(film, null);
  drawSpace(now);
  sayWords(now);
  $("caption").textContent = title(film) + (film.labels ? "." : ". The network has seen nothing but drawings: on a real film its answer means nothing.");
  $("told-says").textContent = SAYS[state.told];
  for (const button of document.querySelectorAll(".tray button")) {
    const chosen = +button.dataset.film === state.film;
    button.setAttribute("aria-checked", chosen);
    const first = button === button.parentNode.firstChild, elsewhere = !button.parentNode.contains(document.querySelector(`[data-film="${state.film}"]`));
    button.tabIndex = chosen || (first && elsewhere) ? 0 : -1;
  }
  await drawHeat(film, now, row, turn);
}

function drawRanks(list, chosen, many) {
  const focused = document.activeElement?.dataset?.row;
  $("ranks").replaceChildren(...list.map((row) => {
    const kind = row.key === "own" ? "own" : row.seen ? "seen" : "unseen";
    const says = { own: "your words", seen: "seen", unseen: "never seen" }[kind] + (row.right ? ", on this film" : "");
    const words = `${row.rank}. ${row.name}, ${says}, score ${row.score.toFixed(2)}, above ${row.above} of ${many} normal films`;
    const percent = (s) => `${100 * Math.exp(s)}%`;
    return make("li", { class: kind }, make("button", { type: "button", "data-row": row.key, "aria-pressed": String(row === chosen), "aria-label": words },
      make("span", { class: "rank" }, row.rank),
      make("span", { class: `dot ${kind}` }),
      make("span", { class: "label" }, row.name, row.right ? make("span", { class: "right" }, " ✓") : ""),
      make("span", { class: "bar" }, make("i", { style: `width:${percent(row.score)}` }), make("em", { style: `left:${percent(row.median)}` })),
      make("span", { class: "score" }, row.score.toFixed(2).replace("-", "−")),
      make("span", { class: "above" }, `${row.above}/${many}`)));
  }));
  document.querySelector(`[data-row="${focused}"]`)?.focus();
  $("heat-of").textContent = chosen.name;
  $("live").textContent = `First: ${list.slice(0, 3).map((row) => row.name).join(", ")}.`;
}

function drawFilm(film, heat) {
  const view = $("view"), pen = view.getContext("2d"), side = view.width;
  view.setAttribute("aria-label", title(film));
  pen.imageSmoothingQuality = "high";
  if (film.pixels) {
    const small = Object.assign(make("canvas"), { width: SIDE, height: SIDE }), dots = new ImageData(SIDE, SIDE);
    film.pixels.forEach((p, i) => dots.data.set([p, p, p, 255], 4 * i));
    small.getContext("2d").putImageData(dots, 0, 0);
    pen.drawImage(small, 0, 0, side, side);
  } else pen.drawImage(film.element, 0, 0, side, side);
  if (!heat) return;
  const small = Object.assign(make("canvas"), { width: CELLS, height: CELLS }), dots = new ImageData(CELLS, CELLS);
  const most = Math.max(...heat, 1e-9);
  heat.forEach((h, i) => dots.data.set([255, 150 - 110 * Math.max(0, h / most), 0, 200 * Math.max(0, h / most)], 4 * i));
  small.getContext("2d").putImageData(dots, 0, 0);
  pen.drawImage(small, 0, 0, side, side);
}

async function drawHeat(film, now, row, turn) {
  const say = (text) => ($("heat-says").textContent = text), key = `${state.film} ${state.told}`;
  $("heat").disabled = !film.pixels;
  if (!film.pixels) return say("No heat map: the network that read the real films is too large for this page.");
  if (!$("heat").checked) return say("");
  if (!covered.has(key)) {
    const tick = (share) => turn === latest && say(`Covering one square after the other: ${Math.round(100 * share)} %`);
    const places = await occlude(film.pixels, now.net, () => turn !== latest, tick);
    if (!places) return;
    covered.set(key, places);
  }
  if (turn !== latest) return;
  drawFilm(film, covered.get(key).map((v) => row.score - score(v, row.anchor)));
  const { films, hits, chance } = LIVE.pointing;
  say(`Warm: covering this square lowers the score of ${row.name}. Told signs, on ${films} phantoms with one seen finding `
    + `the warmest square touches the finding in ${hits}; chance would be ${Math.round(films * chance)}.`);
}

function drawSpace({ list, visual, normal, anchors, net, source }) {
  const [mean, ...axes] = rows(net[`${source}.plane`]), width = 440, height = 330;
  const flat = (v) => axes.map((axis) => axis.reduce((sum, a, i) => sum + a * (v[i] - mean[i]), 0));
  const points = list.map((row) => ({ ...row, at: flat(row.anchor) })), here = flat(visual), others = normal.map(flat);
  const all = [...points.map((p) => p.at), ...others, here];
  const [low, high] = [Math.min, Math.max].map((end) => [0, 1].map((k) => end(...all.map((p) => p[k]))));
  const room = [width - 180, height - 30], scale = Math.min(...room.map((size, k) => size / (high[k] - low[k])));
  const margin = room.map((size, k) => (size - scale * (high[k] - low[k])) / 2); // names stand in a column of their own
  const to = (p) => [15 + margin[0] + scale * (p[0] - low[0]), height - 15 - margin[1] - scale * (p[1] - low[1])];
  const [x, y] = to(here), svg = $("space");
  const line = (from, end, kind) => make("line", { x1: from[0], y1: from[1], x2: end[0], y2: end[1], class: kind });
  svg.replaceChildren(...others.map((p) => make("circle", { class: "normal", cx: to(p)[0], cy: to(p)[1], r: 2 })));
  for (const p of points.slice(0, 3)) svg.append(line([x, y], to(p.at), "near"));
  points.sort((a, b) => to(a.at)[1] - to(b.at)[1]);
  const step = 17, heights = points.map((p) => to(p.at)[1]);
  for (let i = 0; i < heights.length; i++) heights[i] = Math.max(heights[i], i ? heights[i - 1] + step : step - 4);
  for (let i = heights.length - 1; i >= 0; i--) heights[i] = Math.min(heights[i], height - 12 - step * (heights.length - 1 - i));
  points.forEach((p, i) => {
    const kind = p.key === "own" ? "own" : p.seen ? "seen" : "unseen", at = to(p.at), name = [width - 142, heights[i]];
    svg.append(line(at, name, "leader"), make("text", { class: kind, x: name[0] + 4, y: name[1] + 4 }, p.name));
    svg.append(make("circle", { class: kind, cx: at[0], cy: at[1], r: 5 }, make("title", {}, p.name)));
  });
  const star = `M${x} ${y - 9}l2.6 5.9 6.4.6-4.8 4.3 1.4 6.3-5.6-3.3-5.6 3.3 1.4-6.3-4.8-4.3 6.4-.6z`;
  svg.append(make("path", { class: "film", d: star }, make("title", {}, "this film")));
  const first = list.slice(0, 3).map((row) => row.name).join(", ");
  $("space-says").textContent = `Star: this film; dots: findings in words; small dots: normal films; broken lines: the three nearest (${first}). `
    + `Two of ${mean.length} dimensions, those in which films and findings vary most, so distances are only roughly right.`;
}

function sayWords({ list }) {
  const row = list.find((r) => r.key === "own"), off = state.told === "description";
  for (const input of $("words").querySelectorAll("input, button")) input.disabled = off;
  for (const input of $("signs").querySelectorAll("input")) input.checked = state.words.includes(+input.value);
  if (document.activeElement !== $("name")) $("name").value = state.name;
  const say = (text) => ($("words-say").textContent = text);
  if (off) return say("Told descriptions, the network reads whole sentences, and this page carries no language model. Turn the switch to signs.");
  if (!row) return say("Tick signs, or type the name of a finding to start from its signs: your row appears in the ranking.");
  const near = list.filter((r) => r.seen).map((r) => [1 + score(r.anchor, row.anchor) / 2, r.name]).sort((a, b) => b[0] - a[0]).slice(0, 2);
  const fresh = state.words.filter((i) => !signs[i].taught).map((i) => plain(signs[i].name));
  const leans = near.map(([cosine, name]) => `${name} (cosine ${cosine.toFixed(2)})`).join(" and ");
  say(`Rank ${row.rank} of ${list.length}. Of the seen findings, your words lie nearest to ${leans}.`
    + (fresh.length ? ` No seen finding has: ${fresh.join(", ")}. What such a sign looks like, no film has taught.` : ""));
}

// The guided experiments: what they set, and what came of it. Sentences about all test films come with the data.
const rankOf = (key, told, words = []) => read(state.film, told, words).list.find((row) => row.key === key);
const indices = (names) => names.map((name) => signs.findIndex((sign) => sign.name === name));
const withLabel = (...keys) => tray.findIndex((film) => film.source === "phantom" && keys.join() === film.labels?.join());
const EXPERIMENTS = {
  async abscess({ name, signs: list, text }) {
    Object.assign(state, { film: withLabel("Hernia"), told: "signs", words: indices(list), name, row: "own" });
    await load("signs");
    const mine = rankOf("own", "signs", state.words), hernia = rankOf("Hernia", "signs", state.words);
    return `This phantom shows a hernia. The words describe a lung abscess: ${list.map(plain).join(", ")}. `
      + `They rank ${mine.rank} of ${findings.length + 1}; Hernia itself ranks ${hernia.rank}. ${text}`;
  },
  async swap({ text }) {
    const key = "Edema";
    Object.assign(state, { film: withLabel(key), told: "shuffled", words: [], name: "", row: key });
    for (const told of Object.keys(SAYS)) await load(told);
    const [s, d, w] = ["signs", "description", "shuffled"].map((told) => rankOf(key, told).rank);
    return `This phantom shows an edema, which no network saw in training. Told signs, Edema ranks ${s} of ${findings.length}; told descriptions, ${d}; `
      + `now, with the signs of another finding, ${w}. One film proves little. ${text} Turn the switch back and forth.`;
  },
  async untaught({ name, signs: list, untaught, steps, text }) {
    Object.assign(state, { film: withLabel("Emphysema"), told: "signs", words: indices(list), name, row: "own" });
    await load("signs");
    const [less, all] = [steps[0], list].map((words) => rankOf("own", "signs", indices(words)).rank);
    return `This phantom shows an emphysema, never seen in training. Of its signs no seen finding has ${untaught.map(plain).join(", ")}. `
      + `The whole list ranks ${all} of ${findings.length + 1} on this film; ${steps[0].map(plain).join(", ")} alone ranks ${less}. ${text} Untick a sign and watch your row.`;
  },
};
async function run(name) {
  state.name = "";
  const text = await EXPERIMENTS[name](LIVE.experiments[name]);
  document.querySelector(`[name=told][value=${state.told}]`).checked = true;
  for (const button of document.querySelectorAll("[data-experiment]")) button.setAttribute("aria-pressed", button.dataset.experiment === name);
  $("answer").hidden = false;
  $("answer").textContent = text;
  await update();
}

// A picture of the reader's own becomes the last film of the phantoms' tray.
async function take(file) {
  let picture;
  try {
    picture = await createImageBitmap(file);
  } catch {
    return void ($("caption").textContent = `${file.name} is no picture that this browser can read; use PNG or JPEG.`);
  }
  const canvas = Object.assign(make("canvas"), { width: picture.width, height: picture.height }), pen = canvas.getContext("2d");
  pen.drawImage(picture, 0, 0);
  const pixels = shrink(pen.getImageData(0, 0, picture.width, picture.height).data, picture.width, picture.height);
  tray.push({ source: "phantom", labels: null, pixels, name: file.name });
  $("phantoms").append(thumbnail(tray.at(-1), tray.length - 1));
  choose(tray.length - 1, true);
}

function thumbnail(film, index) {
  const label = film.labels ? shown(film) : film.name;
  const button = make("button", { type: "button", role: "radio", "data-film": index, "aria-label": label, title: label });
  if (!film.pixels) {
    film.element = make("img", { src: `${film.image}.jpg`, alt: "" });
    film.element.addEventListener("load", () => index === state.film && update());
    button.append(film.element);
    return button;
  }
  const small = Object.assign(make("canvas"), { width: SIDE, height: SIDE }), dots = new ImageData(SIDE, SIDE);
  film.pixels.forEach((p, i) => dots.data.set([p, p, p, 255], 4 * i));
  small.getContext("2d").putImageData(dots, 0, 0);
  button.append(small);
  return button;
}

function choose(film, focus) {
  Object.assign(state, { film, row: state.row === "own" ? "own" : null });
  const done = update();
  if (focus) done.then(() => document.querySelector(`[data-film="${film}"]`).focus());
}

function start() {
  tray.forEach((film, i) => $(film.source === "phantom" ? "phantoms" : "reals").append(thumbnail(film, i)));
  $("names").append(...presets.flatMap((p) => [p.name, ...p.synonyms]).map((value) => make("option", { value })));
  $("signs").append(...signs.map((sign, i) => make("label", { class: sign.taught ? "chip" : "chip fresh", title: sign.says },
    make("input", { type: "checkbox", value: i }), make("span", {}, plain(sign.name)))));
  const cells = (kind, texts) => make("tr", {}, ...texts.map((text) => make(kind, kind === "th" ? { scope: "col" } : {}, text)));
  const interval = ([value, low, high]) => `${value.toFixed(2)} (${low.toFixed(2)}–${high.toFixed(2)})`;
  const names = { phantom: "phantoms", real: "real films", signs: "signs", description: "descriptions", shuffled: "shuffled signs" };
  $("quality").append(cells("th", ["films", "network told", "seen findings", "unseen findings", "test films"]),
    ...LIVE.quality.map((q) => cells("td", [names[q.source], names[q.told], interval(q.S), interval(q.U), q.abnormal.toLocaleString("en")])));
  const [first, all] = [LIVE.weight.first, LIVE.weight.all].map((bytes) => (bytes / 1e6).toFixed(1));
  $("weight").textContent = `The page weighs ${first} MB at first, ${all} MB once the switch has been turned to all three.`;
  document.querySelectorAll(".tray").forEach((group) => {
    group.addEventListener("click", (event) => event.target.closest("button") && choose(+event.target.closest("button").dataset.film));
    group.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key], buttons = [...group.children];
      if (!step) return;
      event.preventDefault();
      choose(+buttons.at((buttons.indexOf(document.activeElement) + step) % buttons.length).dataset.film, true);
    });
  });
  $("ranks").addEventListener("click", (event) => event.target.closest("button") && ((state.row = event.target.closest("button").dataset.row), update()));
  $("switch").addEventListener("change", (event) => ((state.told = event.target.value), update()));
  $("heat").addEventListener("change", update);
  $("signs").addEventListener("change", () => {
    Object.assign(state, { words: [...$("signs").querySelectorAll(":checked")].map((input) => +input.value), row: "own" });
    update();
  });
  $("name").addEventListener("input", () => {
    state.name = $("name").value.trim();
    const known = presets.find((p) => [p.name, ...p.synonyms].some((name) => name.toLowerCase() === state.name.toLowerCase()));
    if (known) Object.assign(state, { words: indices(known.signs), row: "own" });
    update();
  });
  $("clear").addEventListener("click", () => (Object.assign(state, { words: [], name: "", row: null }), ($("name").value = ""), update()));
  for (const button of document.querySelectorAll("[data-experiment]")) button.addEventListener("click", () => run(button.dataset.experiment));
  $("file").addEventListener("change", (event) => event.target.files[0] && take(event.target.files[0]));
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => (event.preventDefault(), event.dataTransfer.files[0] && take(event.dataTransfer.files[0])));
  return update();
}
const ready = start();
