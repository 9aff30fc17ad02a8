// The table: TanStack Table filters, sorts and pages; the rows become a plain HTML table.

const PAGE_SIZE = 50;

const figureColumn = (column) => ({
  id: column.id,
  accessorFn: (row) => row.figures[column.id]?.[0],
  sortUndefined: "last",
  sortingFn: "basic",
  sortDescFirst: column.higher_is_better !== false,
  enableGlobalFilter: false,
  meta: column,
});

const among = (row, id, allowed) => allowed.includes(row.getValue(id));
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

const TABLE_COLUMNS = [
  plainColumn("rank", "rank", { enableSorting: false }),
  plainColumn("model", "model", { enableGlobalFilter: true }),
  plainColumn("family", "family", { filterFn: among }),
  plainColumn("connector", "connector", { filterFn: among }),
  plainColumn("parameters", "parameters", { sortingFn: "basic", filterFn: "inNumberRange" }),
  ...DATA.groups.map((group) => ({ id: group.id, meta: group, columns: group.columns.map(figureColumn) })),
];

/** One instance a section, so that models and references are sorted and paged apart but under the same columns. */
const TABLES = SECTIONS.map(([kind, title]) => ({
  kind,
  title,
  table: TableCore.createTable({
    data: DATA.rows.filter((row) => row.kind === kind),
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

/** The column and direction that a state sorts by; the first ranking where it names none. */
function sortingOf(state) {
  const id = state.sort.replace(/^-/, "");
  const known = COLUMN.has(id) || ["model", "connector", "parameters"].includes(id);
  if (known) return { id, desc: state.sort.startsWith("-") };
  const ranking = RANKED[0] ?? COLUMNS[0];
  return ranking ? { id: ranking.id, desc: ranking.higher_is_better !== false } : { id: "model", desc: false };
}

/** The ranking whose places are shown: that of the sorted column, or else the first. */
const rankingOf = (state) => COLUMN.get(RANKED.find((column) => column.id === sortingOf(state).id)?.id ?? RANKED[0]?.id);

function tableState(state) {
  const filters = ["family", "connector"].map((id) => ({ id, value: state[id] })).filter(({ value }) => value.length);
  const [least, most] = [state.atleast, state.atmost].map((text) => (text === "" ? undefined : Number(text)));
  if (least !== undefined || most !== undefined) filters.push({ id: "parameters", value: [least ?? 0, most ?? Infinity] });
  return {
    columnFilters: filters,
    globalFilter: state.q.toLowerCase().split(/\s+/).filter(Boolean),
    sorting: [sortingOf(state)],
    columnVisibility: { family: false, ...Object.fromEntries(COLUMNS.map((column) => [column.id, isShown(column, state)])) },
    pagination: { pageIndex: Math.max(0, (parseInt(state.page, 10) || 1) - 1), pageSize: PAGE_SIZE },
  };
}

/** Hand the state to the instances; gives them back with the sections that are shown. */
function tablesFor(state) {
  const given = tableState(state);
  return TABLES.filter(({ kind }) => kind === "competitor" || state.references === "yes").map((section) => {
    const { table } = section;
    table.setOptions((options) => ({ ...options, state: { ...table.initialState, ...given } }));
    const last = Math.max(0, table.getPageCount() - 1);
    if (given.pagination.pageIndex > last) {
      const pagination = { ...given.pagination, pageIndex: last };
      table.setOptions((options) => ({ ...options, state: { ...options.state, pagination } }));
    }
    return section;
  });
}
