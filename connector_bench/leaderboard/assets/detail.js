// All that is known of one row: every figure with interval and controls, loss maps, where it comes from, the command.

function showDetail(state) {
  const dialog = byId("detail");
  const row = ROW.get(state.row);
  if (!row) {
    if (dialog.open) dialog.close();
    return;
  }
  if (dialog.dataset.row !== row.id || !dialog.open) {
    dialog.dataset.row = row.id;
    byId("detail-title").replaceChildren(name(row.model));
    byId("detail-content").replaceChildren(...detailOf(row));
  }
  if (!dialog.open) dialog.showModal();
}

const detailOf = (row) => [
  factList(connectorFacts(row)),
  ...DATA.groups.filter((group) => group.columns.some((column) => row.figures[column.id])).map((group) => groupOf(row, group)),
  ...row.loss_maps.length ? [make("h3", {}, "Loss maps ", make("small", {}, "dark where a patch is rebuilt, bright where it is lost")), lossMaps(row.loss_maps)] : [],
  ...row.runs.flatMap((run) => runOf(run)),
];

/** A list of names and values; those without a value are left out. */
const factList = (facts) =>
  make(
    "dl",
    { class: "facts" },
    facts
      .filter(([, value]) => value !== null && value !== undefined && value !== "")
      .flatMap(([label, value]) => [make("dt", {}, label), make("dd", {}, value instanceof Node ? value : name(String(value)))]),
  );

function connectorFacts(row) {
  const ranks = RANKED.filter((column) => row.ranks[column.id]).map((column) => [`rank, ${fullLabel(column)}`, row.ranks[column.id].words]);
  const kind = { competitor: null, reference: "reference model, not ranked", control: "control, not ranked" }[row.kind];
  return [["kind", kind], ...ranks, ...row.facts];
}

function groupOf(row, group) {
  const own = byMetric(group.columns.filter((column) => column.control === null && row.figures[column.id]));
  const controls = unique(group.columns.filter((column) => column.control && row.figures[column.id]).map((column) => column.control));
  const seeds = row.seeds && `mean ± sd of ${row.seeds.n} seeds`;
  const head = ["value", "interval", seeds, "chance", ...controls.map((control) => `control: ${control.replaceAll("_", " ")}`)];
  const table = make(
    "table",
    { "aria-label": `${group.title}, ${group.task}` },
    make("thead", {}, make("tr", {}, make("th", { scope: "col" }, "metric"), head.filter(Boolean).map((label) => make("th", { scope: "col", class: "figure" }, label)))),
    make("tbody", {}, own.map((column) => metricRow(row, column, group, controls))),
  );
  return make(
    "section",
    {},
    make("h3", {}, `${group.title} `, make("small", {}, name(group.task))),
    make("div", { class: "scroll", role: "region", tabindex: "0", "aria-label": `figures of ${group.title}, ${group.task}` }, table),
    factList([["intervals", methodsOf(row, own)], ...group.conditions, ...(Object.hasOwn(row.probes, group.task) ? row.probes[group.task] : [])]),
  );
}

/** How the intervals were made, each way with its metrics where there are several. */
function methodsOf(row, columns) {
  const ways = d3.group(columns.filter((column) => DATA.methods[row.figures[column.id][3]]), (column) => DATA.methods[row.figures[column.id][3]]);
  return [...ways].map(([method, of]) => (ways.size > 1 ? `${method} (${of.map((column) => column.label).join(", ")})` : method)).join("; ");
}

const spread = (given) => (given ? `${given[2] ?? ""}${number(given[0])} ± ${number(given[1])}` : "");

function metricRow(row, column, group, controls) {
  const figure = row.figures[column.id];
  const controlled = controls.map((control) => {
    const beside = group.columns.find((other) => other.control === control && other.of === column.metric);
    const value = beside && row.figures[beside.id];
    return make("td", { class: "figure" }, value ? make("span", { class: "value", title: withInterval(value) }, shown(value)) : "");
  });
  return make(
    "tr",
    {},
    make("th", { scope: "row", title: column.metric }, column.label, direction(column)),
    figureCell(figure, column),
    make("td", { class: "figure", title: DATA.methods[figure[3]] }, figure[1] === null ? "" : `${number(figure[1])} to ${number(figure[2])}`),
    row.seeds && make("td", { class: "figure" }, spread(row.seeds.spreads[column.id])),
    make("td", { class: "figure" }, column.chance === null ? "" : number(column.chance)),
    controlled,
  );
}

/** One picture a map, its patches dark where nothing was lost and bright where all was. */
const lossMaps = (maps) =>
  make("div", { class: "maps" }, maps.map((map) =>
    make(
      "figure",
      {},
      make("div", { class: "overlay" }, map.picture && make("img", { src: map.picture, alt: "the picture" }), heatMap(map)),
      make("figcaption", {}, `${map.why}; ${name(map.task).textContent}; mean error ${number(d3.mean(map.values))}`),
    ),
  ));

function heatMap({ rows, columns, values, why }) {
  const canvas = make("canvas", { width: columns, height: rows, role: "img", "aria-label": `error of ${rows} by ${columns} patches, ${why}` });
  const context = canvas.getContext("2d");
  values.forEach((value, index) => {
    context.fillStyle = d3.interpolateViridis(Math.min(1, value));
    context.fillRect(index % columns, Math.floor(index / columns), 1, 1);
  });
  return canvas;
}

function runOf(run) {
  return [
    make("h3", {}, "Run ", make("small", {}, name(run.tasks.join(", ")))),
    factList(run.facts),
    run.command && make("p", {}, "Command that gives these figures again:"),
    run.command && make("pre", { tabindex: "0", "aria-label": "command" }, make("code", {}, run.command)),
    run.left_out ? make("p", {}, make("small", {}, `${run.left_out} model arguments of the original command are not repeated here.`)) : null,
  ].filter(Boolean);
}
