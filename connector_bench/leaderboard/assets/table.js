// The table: TanStack Table filters, sorts and pages; the rows become a plain HTML table.

const PAGE_SIZE = 50;

const withinBounds = (row, id, bounds) => {
  const value = row.getValue(id);
  return value !== undefined && bounds.every(({ sign, limit }) => (sign === ">=" ? value >= limit : value <= limit));
};
const among = (row, id, allowed) => allowed.includes(row.getValue(id));

const figureColumn = (column) => ({
  id: column.id,
  accessorFn: (row) => row.figures[column.id]?.[0],
  sortUndefined: "last",
  sortingFn: "basic",
  sortDescFirst: column.higher_is_better !== false,
  filterFn: withinBounds,
  enableGlobalFilter: false,
  meta: column,
});

const plainColumn = (id, label, more = {}) => ({
  id,
  accessorFn: (row) => row[id] ?? undefined,
  sortUndefined: "last",
  sortingFn: "alphanumeric",
  sortDescFirst: false,
  enableGlobalFilter: false,
  meta: { id, label },
  ...more,
});

const NEVER_SHOWN = { family: false, connector: false, id: false };
const TABLE_COLUMNS = [
  plainColumn("tick", "", { enableSorting: false }),
  plainColumn("rank", "rank", { enableSorting: false }),
  plainColumn("model", "connector", { enableGlobalFilter: true }),
  plainColumn("family", "family", { filterFn: among }),
  plainColumn("connector", "kind", { filterFn: among }),
  plainColumn("id", "id", { filterFn: among }),
  plainColumn("parameters", "parameters", { sortingFn: "basic", filterFn: "inNumberRange" }),
  ...DATA.groups.map((group) => ({ id: `${group.title}: ${group.task}`, meta: group, columns: group.columns.map(figureColumn) })),
];

/** One instance a section, so that models and references are sorted and paged apart but under the same columns. */
const TABLES = SECTIONS.map(([kind, title]) => ({
  kind,
  title,
  table: TableCore.createTable({
    data: ENTRIES.filter((row) => row.kind === kind),
    columns: TABLE_COLUMNS,
    state: {},
    onStateChange: () => {},
    renderFallbackValue: null,
    getRowId: (row) => row.id,
    globalFilterFn: (row, _, words) => words.every((word) => row.original.words.includes(word)),
    getColumnCanGlobalFilter: (column) => column.id === "model",
    getCoreRowModel: TableCore.getCoreRowModel(),
    getFilteredRowModel: TableCore.getFilteredRowModel(),
    getSortedRowModel: TableCore.getSortedRowModel(),
    getPaginationRowModel: TableCore.getPaginationRowModel(),
  }),
}));

/** The column and direction that a state sorts by; the board's own where it names none. */
function sortingOf(state) {
  const id = state.sort.replace(/^-/, "");
  if (COLUMN.has(id) || ["model", "parameters"].includes(id)) return { id, desc: state.sort.startsWith("-") };
  const [usual] = SORTED_BY;
  return usual ? { id: usual.id, desc: usual.higher_is_better !== false } : { id: "model", desc: false };
}

/** The ranking whose places are shown: that of the sorted column, or else the board's own. */
const rankingOf = (state) => [COLUMN.get(sortingOf(state).id), ...SORTED_BY].find((column) => column?.ranked);

function filtersOf(state) {
  const filters = ["family", "connector"].map((id) => ({ id, value: state[id] })).filter(({ value }) => value.length);
  const [least, most] = [state.atleast, state.atmost].map((text) => (text === "" ? undefined : Number(text)));
  if (least !== undefined || most !== undefined) filters.push({ id: "parameters", value: [least ?? 0, most ?? Infinity] });
  const bounds = d3.group(state.where.map(boundOf), ({ column }) => column.id);
  return [...filters, ...[...bounds].map(([id, value]) => ({ id, value }))];
}

function setState(table, state, filters, words) {
  const given = {
    columnFilters: filters,
    globalFilter: words,
    sorting: [sortingOf(state)],
    columnVisibility: { ...NEVER_SHOWN, ...Object.fromEntries(COLUMNS.map((column) => [column.id, isShown(column, state)])) },
    pagination: { pageIndex: Math.max(0, (parseInt(state.page, 10) || 1) - 1), pageSize: PAGE_SIZE },
  };
  table.setOptions((options) => ({ ...options, state: { ...table.initialState, ...given } }));
  const pageIndex = Math.min(given.pagination.pageIndex, Math.max(0, table.getPageCount() - 1));
  table.setOptions((options) => ({ ...options, state: { ...options.state, pagination: { pageIndex, pageSize: PAGE_SIZE } } }));
}

/** Hand the state to the instances; gives them back with the sections that are shown.
 *
 * Filters are for models: a reference stays with the model that it is read beside, and what all are read beside stays.
 * A control without a figure in any column that is shown is left out.
 */
function tablesFor(state) {
  const [models, references, controls] = TABLES;
  const words = state.q.toLowerCase().split(/\s+/).filter(Boolean);
  const filters = filtersOf(state);
  setState(models.table, state, filters, words);
  if (state.references !== "yes") return [models];
  const kept = new Set(models.table.getFilteredRowModel().rows.map((row) => row.id));
  const beside = references.table.getCoreRowModel().rows.map((row) => row.original).filter((row) => !(filters.length || words.length) || row.trained === null || kept.has(row.trained) || (words.length && words.every((word) => row.words.includes(word))));
  setState(references.table, state, [{ id: "id", value: beside.map((row) => row.id) }], []);
  const shown = shownColumns(state);
  const measured = controls.table.getCoreRowModel().rows.map((row) => row.original).filter((row) => shown.some((column) => row.figures[column.id]));
  setState(controls.table, state, [{ id: "id", value: measured.map((row) => row.id) }], []);
  return [models, references, controls];
}

const rowsOf = ({ table }) => table.getRowModel().rows.map((row) => row.original);
const isOpen = (row, state) => row.seeds.length > 0 && (state.open.includes("*") || state.open.includes(row.id));
