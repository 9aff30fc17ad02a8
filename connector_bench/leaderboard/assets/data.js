// What the generator embedded, with what follows from it.

const DATA = JSON.parse(byId("data").textContent);
const COLUMNS = DATA.groups.flatMap((group) => group.columns.map((column) => Object.assign(column, { group })));
const COLUMN = new Map(COLUMNS.map((column) => [column.id, column]));
for (const row of DATA.rows) row.figures = Object.fromEntries(row.figures.flatMap((figure, place) => (figure ? [[COLUMNS[place].id, figure]] : [])));
const ENTRIES = DATA.rows.filter((row) => row.kind !== "seed");
const ROW = new Map(DATA.rows.map((row) => [row.id, row]));
const SORTED_BY = DATA.sorted_by.map((id) => COLUMN.get(id));
const RANKED = COLUMNS.filter((column) => column.ranked);
const PRESETS = ["essentials", ...["patches", "stages", "tasks", "neighbours"].filter((preset) => COLUMNS.some((column) => column.presets.includes(preset))), "everything"];
const SECTIONS = [
  ["competitor", "Models"],
  ["reference", "References, not ranked: connectors that were not trained, or that lose nothing"],
  ["control", "Controls, not ranked: median, smallest and largest of all models that were measured with them"],
];

for (const row of ENTRIES) {
  row.words = [row.name, row.family, row.connector, row.kind, ...row.seeds].join(" ").toLowerCase();
}

/** `kept, k = 10 (knn_preservation)`: a column named where its group is not beside it. */
const fullLabel = (column) => `${column.label} (${column.group.task})`;

/** Columns by the name of their metric, numbers in their order, controls behind the rest. */
const byMetric = (columns) =>
  [...columns].sort((a, b) => Boolean(a.control) - Boolean(b.control) || a.metric.localeCompare(b.metric, "en", { numeric: true }));

const inPreset = (column, preset) => preset === "everything" || column.presets.includes(preset);

/** Columns that a state shows: those of its preset but for what is hidden, and what was chosen beside them. */
const isShown = (column, state) => (inPreset(column, state.preset) ? !state.hide.includes(column.id) : state.show.includes(column.id));

const shownColumns = (state) => COLUMNS.filter((column) => isShown(column, state));
const seedsOf = (row) => row.seeds.map((id) => ROW.get(id));
