// Any figure of a connector against any other, drawn by Observable Plot; every point is a link to its row.

const LOSSES = COLUMNS.filter((column) => column.measure !== null && column.control === null);
const OWN = COLUMNS.filter((column) => column.control === null);
const AGAINST = [...OWN.filter((column) => column.measure === null), ...OWN.filter((column) => column.measure !== null)];
const KINDS_OF_CONNECTOR = unique(ENTRIES.map(kindOfConnector)).sort();
const COLOURS = 8;

function buildScatter(change) {
  for (const [key, columns] of [["x", LOSSES], ["y", AGAINST]]) {
    const select = byId(key);
    select.append(...columnOptions(columns));
    select.addEventListener("change", () => change({ [key]: select.value }));
  }
  byId("points").addEventListener("change", ({ target }) => change({ points: target.value }));
  byId("points").hidden = !ENTRIES.some((row) => row.seeds.length);
  byId("scatter").hidden = !LOSSES.length;
}

/** The two columns of a state: what the board is sorted by and the first task's metric where it names none. */
function axesOf(state) {
  return [
    LOSSES.find((column) => column.id === state.x) ?? SORTED_BY.find((column) => LOSSES.includes(column)) ?? LOSSES[0],
    AGAINST.find((column) => column.id === state.y) ?? AGAINST[0],
  ];
}

function drawScatter(sections, state) {
  if (byId("scatter").hidden) return;
  const [x, y] = axesOf(state);
  byId("x").value = x.id;
  byId("y").value = y.id;
  byId("points").querySelectorAll("input").forEach((input) => (input.checked = input.value === state.points));
  const kept = sections.flatMap(({ table }) => table.getFilteredRowModel().rows.map((row) => row.original)).filter((row) => row.kind !== "control");
  const rows = state.points === "seeds" ? kept.flatMap((row) => (row.seeds.length ? seedsOf(row) : [row])) : kept;
  const points = rows.filter((row) => row.figures[x.id] && row.figures[y.id]).map((row) => pointOf(row, x, y, state));
  const left = rows.length - points.length;
  const plot = plotOf(points, x, y);
  byId("plot").replaceChildren(plot, legendOf(plot, points));
  byId("plot-note").textContent =
    (state.points === "seeds" ? counted(points.length, "seed or model", "seeds and models") : counted(points.length, "connector")) +
    (left > 0 ? `; ${left} without one of the two figures left out` : "") + ".";
}

function pointOf(row, x, y, state) {
  const [[xValue, xLow, xHigh], [yValue, yLow, yHigh]] = [row.figures[x.id], row.figures[y.id]];
  const entry = row.kind === "seed" ? ROW.get(row.of) : row;
  const label = row === entry ? row.model : `${entry.model} ${row.model}`;
  const title = `${label}\n${x.label}: ${figureText(row.figures[x.id])}\n${y.label}: ${figureText(row.figures[y.id])}`;
  return {
    ...{ xValue, xLow: xLow ?? xValue, xHigh: xHigh ?? xValue, yValue, yLow: yLow ?? yValue, yHigh: yHigh ?? yValue },
    ...{ title, ranked: entry.kind === "competitor", connector: kindOfConnector(entry), label: shortName(label) },
    link: `#${writeState({ ...state, row: row.id })}`,
  };
}

/** Of an untrained reference, the kind that it would be when trained: its point is hollow in that kind's colour. */
function kindOfConnector(row) {
  const kind = row.connector ?? "unknown";
  return row.kind === "reference" ? kind.replace(/^untrained_/, "") : kind;
}

const shortName = (model) => model.split("/").at(-1);

function plotOf(points, x, y) {
  const width = Math.max(300, byId("plot").clientWidth);
  const kinds = KINDS_OF_CONNECTOR;
  const dots = { x: "xValue", y: "yValue", symbol: "connector", href: "link", ariaLabel: "title", r: 5.5, strokeWidth: 1.8 };
  const chance = [[x, Plot.ruleX], [y, Plot.ruleY]].filter(([column]) => column.chance !== null && points.length);
  const plot = Plot.plot({
    className: "dots",
    ...{ width, height: Math.min(520, Math.max(340, width * 0.55)), marginLeft: MARGIN, marginBottom: 44, inset: 8, grid: true },
    ariaLabel: `${fullLabel(y)} against ${fullLabel(x)}`,
    x: { nice: true, label: axisLabel(x), labelAnchor: "center", labelArrow: "none" },
    y: { nice: true, label: axisLabel(y), labelArrow: "none" },
    color: { domain: kinds, range: kinds.map((_, index) => `var(--colour-${index % COLOURS})`) },
    symbol: { domain: kinds, range: kinds.map((_, index) => SYMBOLS[index % SYMBOLS.length]) },
    marks: [
      ...chance.map(([column, rule]) => rule([column.chance], { strokeDasharray: "3 4", strokeOpacity: 0.6 })),
      Plot.link(points, { x1: "xLow", x2: "xHigh", y1: "yValue", y2: "yValue", stroke: "connector", strokeOpacity: 0.55 }),
      Plot.link(points, { x1: "xValue", x2: "xValue", y1: "yLow", y2: "yHigh", stroke: "connector", strokeOpacity: 0.55 }),
      Plot.dot(points.filter((point) => point.ranked), { ...dots, fill: "connector", stroke: "connector" }),
      Plot.dot(points.filter((point) => !point.ranked), { ...dots, fill: "var(--paper)", stroke: "connector" }),
      Plot.tip(points, Plot.pointer({ x: "xValue", y: "yValue", title: "title", fill: "var(--paper)", stroke: "var(--line)", lineHeight: 1.3 })),
    ],
  });
  // The policy of the page allows no style but page.css, and a group of shapes without a role can have no label.
  plot.querySelectorAll("style").forEach((style) => style.remove());
  plot.querySelectorAll("g[aria-label]").forEach((group) => group.removeAttribute("aria-label"));
  if (points.length <= MOST_LABELS) labelPoints(plot, points, width);
  return plot;
}

const SYMBOLS = ["circle", "square", "triangle", "diamond", "star", "cross", "wye"];

const axisLabel = (column) => [fullLabel(column), wayOf(column)].filter(Boolean).join(", ");

/** Colour and shape of each kind of connector that has a point. */
function legendOf(plot, points) {
  const [colour, symbol] = ["color", "symbol"].map((scale) => plot.scale(scale));
  const present = colour.domain.filter((kind) => points.some((point) => point.connector === kind));
  return make(
    "ul",
    { class: "legend" },
    present.map((kind) => make("li", {}, symbolOf(symbol.apply(kind), colour.apply(kind)), " ", name(kind))),
    points.some((point) => !point.ranked) ? make("li", {}, "hollow: reference, not ranked") : null,
  );
}

function symbolOf(symbol, colour) {
  const icon = d3.create("svg").attr("width", 14).attr("height", 14).attr("viewBox", "-7 -7 14 14").attr("aria-hidden", "true");
  icon.append("path").attr("d", d3.symbol(symbol, 60)()).attr("fill", colour);
  return icon.node();
}
