// What the generator embedded, with what follows from it.

const DATA = JSON.parse(byId("data").textContent);
const COLUMNS = DATA.groups.flatMap((group) => group.columns.map((column) => Object.assign(column, { group })));
const COLUMN = new Map(COLUMNS.map((column) => [column.id, column]));
const ROW = new Map(DATA.rows.map((row) => [row.id, row]));
const RANKED = COLUMNS.filter((column) => column.ranked);
const SECTIONS = [
  ["competitor", "Models"],
  ["reference", "Reference models, not ranked: connectors that were not trained, or that lose nothing"],
  ["control", "Controls, not ranked: median, smallest and largest over all models that measured them"],
];

for (const column of COLUMNS) column.scale = scaleOf(column);
for (const row of DATA.rows) {
  row.words = [row.model, row.family, row.connector, row.kind].join(" ").toLowerCase();
}

/** 0 to 1 where all figures lie there, so that columns compare; else the range of the figures. */
function scaleOf(column) {
  const values = DATA.rows.flatMap((row) => row.figures[column.id]?.slice(0, 3) ?? []).filter((value) => value !== null);
  const low = Math.min(...values);
  const high = Math.max(...values);
  return low >= 0 && high <= 1 ? [0, 1] : [Math.min(low, 0), high];
}

/** `kept, k = 10 (knn_preservation)`: a column named where its group is not beside it. */
const fullLabel = (column) => `${column.label} (${column.group.task})`;

/** Columns by the name of their metric, numbers in their order, controls behind the rest. */
const byMetric = (columns) =>
  [...columns].sort((a, b) => Boolean(a.control) - Boolean(b.control) || a.metric.localeCompare(b.metric, "en", { numeric: true }));

/** Columns that a state shows: the usual ones but for those hidden, and what was chosen beside them. */
const isShown = (column, state) =>
  column.shown ? !state.hide.includes(column.id) : state.show.includes(column.id);
