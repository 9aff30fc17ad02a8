// Draws the table. The head stays while its columns do, so that a sort button keeps the keyboard's focus.

let drawnHead = "";

function drawTable(sections, state, change) {
  const [{ table }] = sections;
  const head = byId("head");
  const shown = table.getVisibleLeafColumns().map((column) => column.id).join("\n");
  if (shown !== drawnHead) {
    head.replaceChildren(...table.getHeaderGroups().map((group) => headerRow(group, change)));
    drawnHead = shown;
  }
  markSorting(head, state);
  head.parentElement.querySelectorAll("tbody").forEach((body) => body.remove());
  const ranking = rankingOf(state);
  head.after(...sections.map((section) => bodyOf(section, ranking, state)).filter(Boolean));
}

function headerRow(group, change) {
  return make(
    "tr",
    {},
    group.headers.map((header) => {
      if (header.isPlaceholder) return make("td", { class: header.column.id });
      const meta = header.column.columnDef.meta;
      return header.subHeaders.length ? groupHeader(header, meta) : columnHeader(header, meta, change);
    }),
  );
}

function groupHeader(header, group) {
  return make(
    "th",
    { scope: "colgroup", colspan: header.colSpan, class: "group", title: group.protocol && `protocol ${group.protocol}` },
    make("span", { class: "pinned" }, group.title, make("small", {}, name(group.task), `, N = ${group.n.toLocaleString("en")}`)),
  );
}

function columnHeader(header, column, change) {
  const { id } = column;
  const title = header.column.getCanSort()
    ? make("button", { type: "button", class: "sort", onclick: () => change({ sort: nextSort(id), page: "1" }) }, column.label)
    : make("span", {}, column.label);
  const notes = COLUMN.has(id)
    ? make("small", {}, direction(column), column.chance === null ? null : ` chance ${number(column.chance)}`)
    : null;
  return make("th", { scope: "col", class: COLUMN.has(id) ? "figure" : id, "data-column": id, title: column.metric }, title, notes);
}

/** Best first; the other way round where that is how it stands already. */
function nextSort(id) {
  const column = TABLES[0].table.getColumn(id);
  const now = column.getIsSorted();
  const descending = now ? now !== "desc" : column.columnDef.sortDescFirst;
  return (descending ? "-" : "") + id;
}

function markSorting(head, state) {
  const { id, desc } = sortingOf(state);
  head.querySelectorAll("[data-column]").forEach((cell) => {
    if (cell.dataset.column === id) cell.setAttribute("aria-sort", desc ? "descending" : "ascending");
    else cell.removeAttribute("aria-sort");
  });
  const ranking = rankingOf(state);
  const place = head.querySelector('[data-column="rank"]');
  if (ranking && place) place.title = `place in: ${fullLabel(ranking)}; models that share a place cannot be told apart`;
}

function bodyOf({ kind, title, table }, ranking, state) {
  const rows = table.getRowModel().rows;
  if (!rows.length && kind !== "competitor") return null;
  const width = table.getVisibleLeafColumns().length;
  const heading = make("th", { colspan: width, scope: "rowgroup" }, make("span", { class: "pinned" }, title));
  return make(
    "tbody",
    { class: kind },
    kind === "competitor" ? null : make("tr", { class: "section" }, heading),
    rows.length
      ? rows.map((row) => rowOf(row.original, table.getVisibleLeafColumns(), ranking, state))
      : make("tr", {}, make("td", { colspan: width, class: "nothing" }, "No model passes these filters.")),
  );
}

function rowOf(row, columns, ranking, state) {
  const cells = {
    rank: () => make("td", { class: "rank" }, row.ranks[ranking?.id]?.place ?? ""),
    model: () => make("th", { scope: "row", class: "model" }, detailLink(row, state)),
    connector: () => make("td", { class: "connector" }, name(row.connector ?? ""), make("small", {}, name(row.family ?? ""))),
    parameters: () =>
      make("td", { class: "parameters", title: row.parameters?.toLocaleString("en") }, row.parameters === null ? "" : compact.format(row.parameters)),
  };
  return make("tr", {}, columns.map(({ id }) => (cells[id] ?? (() => figureCell(row.figures[id], COLUMN.get(id))))()));
}

/** A link to the same view with the row's details open. */
const detailLink = (row, state) =>
  make("a", { href: `#${writeState({ ...state, row: row.id })}`, "data-row": row.id }, name(row.model));
