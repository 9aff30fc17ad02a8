// From state to page, and back: every change writes the address, every address draws the page.

let state = readState(location.hash.slice(1));
let drawnTable = null;
let drawnScatter = null;
let waitingScatter = 0;
const AFTER_TYPING = 80; // ms: thousands of points are drawn when a word is typed, not at each of its letters

/** A new state: a step in the browser's history where it opens something, else in place of the present one. */
function change(part, step = false) {
  state = { ...state, ...part };
  history[step ? "pushState" : "replaceState"](null, "", `#${writeState(state)}`);
  draw();
}

function draw() {
  drawTableOnce();
  clearTimeout(waitingScatter);
  waitingScatter = setTimeout(drawScatterOnce, AFTER_TYPING);
  showDetail(state);
}

/** An open row changes nothing in the table, which keeps the link to return to when it is closed. */
function drawTableOnce() {
  const shown = writeState({ ...state, row: "" });
  if (shown === drawnTable) return;
  drawnTable = shown;
  const sections = tablesFor(state);
  drawTable(sections, state, change);
  showFilters(state, change);
  showCount(sections[0], change);
  showPair(state);
}

/** The scatter shows neither order nor columns, so that sorting a long table does not draw it again. */
function drawScatterOnce() {
  const shown = `${writeState({ ...state, sort: "", page: "1", preset: "", show: [], hide: [], open: [], pair: [], row: "" })} ${byId("plot").clientWidth}`;
  if (shown === drawnScatter) return;
  drawnScatter = shown;
  drawScatter(tablesFor(state), state);
}

/** Links to rows are kept within this view, and can be stepped back from. */
function follow(event) {
  const link = event.target.closest?.("a");
  const fragment = (link?.href.baseVal ?? link?.getAttribute("href") ?? "").match(/^#(.*)/)?.[1];
  const row = fragment === undefined ? "" : readState(fragment).row;
  if (!row || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  change({ row }, true);
}

const THEMES = ["auto", "dark", "light"];

function buildTheme() {
  const button = byId("theme");
  const use = (theme) => {
    document.documentElement.dataset.theme = theme;
    button.textContent = `Colours: ${theme}`;
  };
  button.addEventListener("click", () => {
    const next = THEMES[(THEMES.indexOf(document.documentElement.dataset.theme) + 1) % THEMES.length];
    use(next);
    remember(next);
  });
  use(remembered());
}

// A page opened from a file may have no storage: then the choice lasts until it is closed.
function remember(theme) {
  try { localStorage.setItem("theme", theme); } catch { /* not kept */ }
}

function remembered() {
  try { return THEMES.find((theme) => theme === localStorage.getItem("theme")) ?? "auto"; } catch { return "auto"; }
}

buildTheme();
buildFilters(change);
buildScatter(change);
buildTake();
byId("pair-close").addEventListener("click", () => change({ pair: [] }));
document.querySelectorAll("[data-to]").forEach((button) => button.addEventListener("click", () => {
  const section = byId(button.dataset.to);
  section.scrollIntoView();
  section.querySelector("h2").focus();
}));
document.addEventListener("click", follow);
byId("close").addEventListener("click", () => byId("detail").close());
byId("detail").addEventListener("close", () => state.row && change({ row: "" }));
for (const event of ["popstate", "hashchange"]) {
  window.addEventListener(event, () => {
    state = readState(location.hash.slice(1));
    draw();
  });
}
new ResizeObserver(drawScatterOnce).observe(byId("plot"));
draw();
