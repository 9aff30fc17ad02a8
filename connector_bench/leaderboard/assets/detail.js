// All that is known of one row: figures and controls in one table, six pictures, where it comes from, the command.

function showDetail(state) {
  const dialog = byId("detail");
  const row = ROW.get(state.row);
  if (!row) {
    if (dialog.open) dialog.close();
    return;
  }
  if (dialog.dataset.row !== row.id || !dialog.open) {
    dialog.dataset.row = row.id;
    byId("detail-title").replaceChildren(name(row.name));
    byId("detail-content").replaceChildren(...detailOf(row));
    dialog.scrollTop = 0;
  }
  if (!dialog.open) dialog.showModal();
}

/** What stands for a connector's seeds where they do not stand together: its first. */
const firstOf = (row) => (row.seeds.length ? ROW.get(row.seeds[0]) : row);

function detailOf(row) {
  const first = firstOf(row);
  const runs = row.seeds.length ? seedsOf(row).flatMap((seed) => seed.runs.map((run) => [run, seed])) : row.runs.map((run) => [run, row]);
  return [factList(mainFacts(row, first)), figuresOf(row), mapsOf(first), make("h3", {}, "Connector"), factList(connectorFacts(row, first)), ...conditionsOf(first), ...runs.flatMap(([run, of]) => runOf(run, runs.length > 1 ? of : null))].filter(Boolean);
}

/** A list of names and values; those without a value are left out. */
const factList = (facts) =>
  make(
    "dl",
    { class: "facts" },
    facts
      .filter(([, value]) => value !== null && value !== undefined && value !== "")
      .flatMap(([label, value]) => [make("dt", {}, label), make("dd", {}, value instanceof Node ? value : name(String(value)))]),
  );

/** What a reader wants to know first; the rest of what is known of the connector stands below. */
function mainFacts(row, first) {
  const kind = { reference: "reference, not ranked", control: "control, not ranked", seed: `one seed of ${ROW.get(row.of)?.model}` }[row.kind];
  const seeds = row.seeds.length ? `${row.seeds.length}; figures are means over those that were measured, pictures and weights those of the first` : null;
  const main = SORTED_BY.find((column) => row.ranks[column.id]);
  const alarm = first.facts.filter(([label]) => label.startsWith("controls"));
  return [["kind", kind], ["seeds", seeds], main ? [`rank by ${main.label}`, row.ranks[main.id].words] : ["", null], ["parameters", row.parameters?.toLocaleString("en")], ...alarm];
}

const connectorFacts = (row, first) => [
  ...first.facts.filter(([label]) => !label.startsWith("controls")),
  ...RANKED.filter((column) => row.ranks[column.id]).map((column) => [`rank by ${fullLabel(column)}`, row.ranks[column.id].words]),
];

/** One table: the usual figures of every task, all of them where a reader asks; controls beside what they are of. */
function figuresOf(row) {
  const groups = DATA.groups.filter((group) => group.columns.some((column) => column.control === null && row.figures[column.id]));
  const controls = unique(COLUMNS.filter((column) => column.control && row.figures[column.id]).map((column) => column.control));
  const further = controls.filter((control) => !groups.some((group) => group.columns.some((column) => isUsual(column) && row.figures[besideOf(column, control)?.id])));
  const heads = ["figure", "value", row.seeds.length ? "each seed" : null, "chance", ...controls.map((control) => COLUMNS.find((column) => column.control === control).control_label ?? control)];
  const own = row.seeds.length ? 4 : 3;
  const table = make(
    "table",
    { class: "figures" },
    make("thead", {}, make("tr", {}, heads.filter(Boolean).map((label, place) => make("th", { scope: "col", class: [place ? "figure" : "", further.includes(controls[place - own]) ? "further" : ""].join(" ") }, label, place >= own ? hidden(", a control") : null)))),
    ...groups.map((group) => groupOf(row, group, controls, further, heads.filter(Boolean).length)),
  );
  const count = groups.flatMap((group) => group.columns.filter((column) => column.control === null && row.figures[column.id])).length;
  const all = make("button", { type: "button", "aria-pressed": "false" }, `Show all ${count} figures`);
  all.addEventListener("click", () => {
    const shown = table.classList.toggle("all");
    all.setAttribute("aria-pressed", String(shown));
  });
  return make("section", {}, make("h3", {}, "Figures and controls"), all, make("div", { class: "scroll", role: "region", tabindex: "0", "aria-label": "figures and controls" }, table));
}

/** Whether some preset shows it: the headlines of each measure's first data set, and tasks. */
const isUsual = (column) => column.presets.length > 0;

function groupOf(row, group, controls, further, width) {
  const own = group.columns.filter((column) => column.control === null && row.figures[column.id]);
  const usual = own.some(isUsual);
  return make(
    "tbody",
    { class: usual ? "" : "further" },
    make("tr", { class: "section" }, make("th", { colspan: width, scope: "rowgroup" }, make("span", { class: "pinned" }, `${group.title}: `, name(group.task), `, N = ${group.n.toLocaleString("en")}`))),
    own.map((column) => metricRow(row, column, controls, further)),
  );
}

/** The column of a control's figure that is read beside another of its group. */
const besideOf = (column, control) => column.group.columns.find((other) => other.control === control && other.of === column.metric);

function metricRow(row, column, controls, further) {
  return make(
    "tr",
    { class: isUsual(column) ? "" : "further" },
    make("th", { scope: "row" }, column.label, direction(column), " ", whatButton(column)),
    figureCell(row.figures[column.id], row.kind),
    row.seeds.length ? make("td", { class: "figure each" }, seedsOf(row).map((seed) => number(seed.figures[column.id]?.[0])).join(" ")) : null,
    make("td", { class: "figure" }, column.chance === null ? "" : number(column.chance)),
    controls.map((control) => {
      const figure = row.figures[besideOf(column, control)?.id];
      return make("td", { class: `figure beside${further.includes(control) ? " further" : ""}` }, figure ? styled(figure).map((text, place) => make("span", { class: place ? "half" : "value" }, text)) : "");
    }),
  );
}

/** The same pictures for every model, each above where its patches were lost, all on one scale of colours. */
function mapsOf(row) {
  const maps = row.loss_maps.filter((map) => map.task === row.loss_maps[0].task);
  if (!maps.length) return null;
  return make(
    "section",
    {},
    make("h3", {}, "Where the loss lies ", make("small", {}, name(`${maps[0].task}, ${row.name}: ${unique(maps.map((map) => map.why)).join("; ")}`))),
    scaleOf(),
    make("div", { class: "maps" }, maps.map((map) => make(
      "figure",
      {},
      DATA.pictures[map.picture] ? make("img", { src: DATA.pictures[map.picture], alt: "the picture" }) : null,
      heatMap(map),
      make("figcaption", {}, `mean error ${number(d3.mean(map.values.filter((value) => value >= 0)) / 100)}`),
    ))),
  );
}

const colourOf = d3.interpolateMagma;

function scaleOf() {
  const canvas = make("canvas", { width: 256, height: 1, "aria-hidden": "true" });
  const context = canvas.getContext("2d");
  d3.range(256).forEach((step) => {
    context.fillStyle = colourOf(step / 255);
    context.fillRect(step, 0, 1, 1);
  });
  return make("p", { class: "scale" }, "error of a patch: 0, rebuilt whole ", canvas, " 1 and more, what the mean patch misses on average");
}

function heatMap({ rows, columns, values, why }) {
  const canvas = make("canvas", { class: "map", width: columns, height: rows, role: "img", "aria-label": `error of ${rows} by ${columns} patches, ${why}` });
  const context = canvas.getContext("2d");
  values.forEach((value, index) => {
    if (value < 0) return; // no patch lies here
    context.fillStyle = colourOf(Math.min(1, Math.max(0, value / 100)));
    context.fillRect(index % columns, Math.floor(index / columns), 1, 1);
  });
  return canvas;
}

/** What the figures of a task share, how its intervals were made, and its probes. */
function conditionsOf(row) {
  const groups = [...d3.group(DATA.groups.filter((group) => group.columns.some((column) => row.figures[column.id])), (group) => group.task)];
  return [
    make("h3", {}, "How it was measured"),
    ...groups.map(([task, [group]]) => {
      const methods = unique(group.columns.map((column) => DATA.methods[row.figures[column.id]?.[3]]).filter(Boolean));
      const probes = Object.hasOwn(row.probes, task) ? row.probes[task] : [];
      return make("details", {}, make("summary", {}, name(task)), factList([["intervals", methods.join("; ")], ...group.conditions, ...probes]));
    }),
  ];
}

function runOf(run, of) {
  return [
    make("h3", {}, "Run ", make("small", {}, name(`${of ? `${of.model}: ` : ""}${run.tasks.join(", ")}`))),
    factList(run.facts),
    run.command && make("p", {}, "Command that gives these figures again:"),
    run.command && make("pre", { tabindex: "0", "aria-label": "command" }, make("code", {}, run.command)),
    run.left_out ? make("p", {}, make("small", {}, `${counted(run.left_out, "model argument of the original command is", "model arguments of the original command are")} not repeated here.`)) : null,
  ].filter(Boolean);
}
