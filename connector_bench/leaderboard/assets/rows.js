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
  const focused = focusedControl();
  head.parentElement.querySelectorAll("tbody").forEach((body) => body.remove());
  head.after(...sections.map((section) => bodyOf(section, state, change)).filter(Boolean));
  if (focused) head.parentElement.querySelector(`[data-control="${CSS.escape(focused)}"]`)?.focus();
}

/** A tick or a button of a row that has the focus, which its row's next drawing gets again. */
const focusedControl = () => document.activeElement?.closest?.("#table tbody [data-control]")?.dataset.control;

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

const groupHeader = (header, group) =>
  make(
    "th",
    { scope: "colgroup", colspan: header.colSpan, class: "group" },
    make("span", { class: "pinned" }, group.title, make("small", {}, name(group.task), `, N\u00a0=\u00a0${group.n.toLocaleString("en")}`)),
  );

function columnHeader(header, column, change) {
  const { id } = column;
  const figure = COLUMN.has(id);
  const title = header.column.getCanSort()
    ? make("button", { type: "button", class: "sort", onclick: () => change({ sort: nextSort(id), page: "1" }) }, column.label)
    : id === "tick" ? hidden("compare") : make("span", {}, column.label);
  const notes = figure
    ? make("small", {}, direction(column), column.chance === null ? null : ` chance ${number(column.chance)}`, whatButton(column))
    : make("small", { id: `note-${id}` });
  return make("th", { scope: "col", class: figure ? "figure" : id, "data-column": id }, title, notes);
}

/** A button that says what a column's figures are, where they are read. */
const whatButton = (column) =>
  make("button", { type: "button", class: "what", "aria-label": `what is ${column.label}?`, "aria-haspopup": "dialog", onclick: (event) => define(column, event.currentTarget) }, "?");

function define(column, button) {
  const box = byId("definition");
  byId("definition-title").replaceChildren(name(column.label));
  byId("definition-content").replaceChildren(
    make("p", {}, `${column.meaning}.`),
    factList([
      ["metric", column.metric],
      ["arrow", wayOf(column) || "none: neither way is better"],
      ["chance", column.chance === null ? column.formula : number(column.chance) + (column.formula ? `: ${column.formula}` : "")],
      ["from", column.source],
      ["task", `${column.group.task}, N = ${column.group.n.toLocaleString("en")}`],
    ]),
  );
  (button.closest("dialog") ?? document.body).append(box); // what lies beside an open dialog cannot be used
  box.showPopover();
  const [at, size] = [button.getBoundingClientRect(), box.getBoundingClientRect()];
  box.style.left = `${Math.max(8, Math.min(at.left, innerWidth - size.width - 8))}px`;
  box.style.top = `${Math.max(8, Math.min(at.bottom + 6, innerHeight - size.height - 8))}px`;
  box.focus();
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
  byId("note-rank")?.replaceChildren(ranking ? `by ${ranking.label}` : "");
}

function bodyOf(section, state, change) {
  const { kind, title, table } = section;
  const rows = rowsOf(section);
  if (!rows.length && kind !== "competitor") return null;
  const columns = table.getVisibleLeafColumns();
  const heading = make("th", { colspan: columns.length, scope: "rowgroup" }, make("span", { class: "pinned" }, title));
  return make(
    "tbody",
    { class: kind },
    kind === "competitor" ? null : make("tr", { class: "section" }, heading),
    rows.length
      ? rows.flatMap((row) => [row, ...(isOpen(row, state) ? seedsOf(row) : [])].map((one) => rowOf(one, columns, state, change)))
      : make("tr", {}, make("td", { colspan: columns.length, class: "nothing" }, "No model passes these filters.")),
  );
}

function rowOf(row, columns, state, change) {
  const cells = {
    tick: () => make("td", { class: "tick" }, tickOf(row, state, change)),
    rank: () => make("td", { class: "rank" }, row.kind === "seed" ? "" : (row.ranks[rankingOf(state)?.id]?.place ?? "")),
    model: () => make("th", { scope: "row", class: "model" }, detailLink(row, state), seedsButton(row, state, change), kindOf(row)),
    parameters: () =>
      make("td", { class: "parameters", title: row.parameters?.toLocaleString("en") }, row.parameters === null || row.kind === "seed" ? "" : sized(row.parameters)),
  };
  const chosen = state.pair.includes(row.id) ? "chosen" : "";
  return make("tr", { class: row.kind === "seed" ? "seed" : chosen }, columns.map(({ id }) => (cells[id] ?? (() => figureCell(row.figures[id], row.kind)))()));
}

/** Two rows may be ticked; a third takes the place of the older one. */
function tickOf(row, state, change) {
  if (!["competitor", "reference"].includes(row.kind)) return null;
  const toggle = ({ target }) => change({ pair: target.checked ? [...state.pair, row.id].slice(-2) : state.pair.filter((id) => id !== row.id) });
  const box = make("input", { type: "checkbox", "aria-label": `compare ${row.model}`, "data-control": `tick ${row.id}`, onchange: toggle });
  box.checked = state.pair.includes(row.id);
  return make("label", {}, box);
}

function seedsButton(row, state, change) {
  if (!row.seeds.length) return null;
  const open = isOpen(row, state);
  const others = state.open.includes("*") ? ENTRIES.filter((one) => one.seeds.length).map((one) => one.id) : state.open;
  const toggle = () => change({ open: open ? others.filter((id) => id !== row.id) : [...others, row.id] });
  return make(
    "button",
    { type: "button", class: "seeds", "aria-expanded": String(open), "aria-label": `${row.seeds.length} seeds of ${row.model}`, "data-control": `seeds ${row.id}`, onclick: toggle },
    `${open ? "▾" : "▸"} ${row.seeds.length}`,
    hidden(" seeds"),
  );
}

/** What kind of connector it is, where its name does not say so. */
const kindOf = (row) => (row.connector && row.kind !== "seed" && row.connector !== row.model ? make("small", {}, name(row.connector)) : null);

/** A link to the same view with the row's details open. */
const detailLink = (row, state) =>
  make("a", { href: `#${writeState({ ...state, row: row.id })}`, "data-row": row.id, title: row.name }, name(row.model));
