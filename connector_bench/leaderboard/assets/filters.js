// Search, filters and the choice of columns: built once, then kept equal to the state.

const SIZES = [1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10];

function buildFilters(change) {
  const search = byId("search");
  search.addEventListener("input", () => change({ q: search.value, page: "1" }));
  choices("family", change);
  choices("connector", change);
  for (const key of ["atleast", "atmost"]) {
    const select = byId(key);
    select.append(
      make("option", { value: "" }, "any"),
      ...SIZES.map((size) => make("option", { value: String(size) }, compact.format(size))),
    );
    select.addEventListener("change", () => change({ [key]: select.value, page: "1" }));
  }
  const references = byId("references");
  references.addEventListener("change", () => change({ references: references.checked ? "yes" : "no", page: "1" }));
  byId("seeds").addEventListener("click", () => change({ open: state.open.length ? [] : ["*"] }));
  byId("seeds").hidden = !ENTRIES.some((row) => row.seeds.length);
  byId("reset").addEventListener("click", () => change({ ...DEFAULTS }));
  buildBounds(change);
  buildColumns(change);
  closeOutside();
}

/** A checkbox a value, with how many rows have it. */
function choices(key, change) {
  const counts = d3.rollup(ENTRIES.filter((row) => row[key] !== null), (rows) => rows.length, (row) => row[key]);
  const boxes = [...counts].sort(([a], [b]) => a.localeCompare(b)).map(([value, count]) => {
    const box = make("input", { type: "checkbox", value, "data-filter": key });
    return make("label", {}, box, " ", name(value), make("small", {}, ` ${count}`));
  });
  const fieldset = byId(key);
  fieldset.append(...boxes);
  fieldset.addEventListener("change", () => change({ [key]: ticked(fieldset), page: "1" }));
}

const ticked = (parent) => [...parent.querySelectorAll("input:checked")].map((box) => box.value);

/** Columns as options, a group a task; `first` are the groups that stand first. */
const columnOptions = (columns) =>
  [...d3.group(columns, (column) => column.group)].map(([group, members]) =>
    make("optgroup", { label: `${group.title}: ${group.task}` }, members.map((column) => make("option", { value: column.id }, fullLabel(column)))),
  );

function buildBounds(change) {
  const [column, sign, limit] = ["bound-column", "bound-sign", "bound-limit"].map(byId);
  column.append(...columnOptions(COLUMNS.filter((one) => one.control === null)));
  if (SORTED_BY.length) column.value = SORTED_BY[0].id;
  byId("bound-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const text = `${column.value}${sign.value}${limit.value}`;
    if (limit.value === "" || !boundOf(text)) return limit.focus();
    limit.value = "";
    change({ where: unique([...state.where, text]), page: "1" });
  });
}

/** The bounds in force, each a button that takes it away. */
function showBounds(state, change) {
  byId("where").replaceChildren(
    ...state.where.map((text) => {
      const { column, sign, limit } = boundOf(text);
      const said = `${fullLabel(column)} ${sign === ">=" ? "≥" : "≤"} ${number(limit)}`;
      const remove = () => change({ where: state.where.filter((other) => other !== text), page: "1" });
      return make("li", {}, make("button", { type: "button", "aria-label": `remove filter ${said}`, onclick: remove }, said, make("span", { "aria-hidden": "true" }, " ×")));
    }),
  );
}

function buildColumns(change) {
  const preset = byId("preset");
  preset.append(...PRESETS.map((one) => make("option", { value: one }, one)));
  preset.addEventListener("change", () => change({ preset: preset.value, show: [], hide: [] }));
  byId("columns").append(...DATA.groups.map((group) => columnChoices(group, change)));
  const find = byId("find-column");
  find.addEventListener("input", () => findColumns(find.value.toLowerCase().split(/\s+/).filter(Boolean)));
}

/** Leave only the columns of the list whose label, name, task or definition holds all words. */
function findColumns(words) {
  let found = 0;
  byId("columns").querySelectorAll("fieldset").forEach((fieldset) => {
    let members = 0;
    fieldset.querySelectorAll("label").forEach((label) => {
      const column = COLUMN.get(label.querySelector("input").value);
      const text = [column.label, column.metric, column.meaning, column.group.title, column.group.task].join(" ").toLowerCase();
      label.hidden = !words.every((word) => text.includes(word));
      members += !label.hidden;
    });
    fieldset.hidden = members === 0;
    found += members;
  });
  byId("found-columns").textContent = words.length ? `${found} of ${COLUMNS.length}` : "";
}

function columnChoices(group, change) {
  const boxes = byMetric(group.columns).map((column) =>
    make("label", { title: column.meaning }, make("input", { type: "checkbox", value: column.id, "data-choice": "column" }), ` ${column.label}`),
  );
  const fieldset = make("fieldset", {}, make("legend", {}, `${group.title} `, make("small", {}, name(group.task))), boxes);
  fieldset.addEventListener("change", () => {
    const chosen = new Set(ticked(byId("columns")));
    const usual = (column) => inPreset(column, state.preset);
    change({
      show: COLUMNS.filter((column) => !usual(column) && chosen.has(column.id)).map((column) => column.id),
      hide: COLUMNS.filter((column) => usual(column) && !chosen.has(column.id)).map((column) => column.id),
    });
  });
  return fieldset;
}

/** A menu closes with Escape and when something else is used. */
function closeOutside() {
  const menus = [...document.querySelectorAll("details.menu")];
  for (const event of ["pointerdown", "focusin"]) {
    document.addEventListener(event, ({ target }) => menus.forEach((menu) => menu.contains(target) || (menu.open = false)));
  }
  for (const menu of menus) {
    menu.addEventListener("keydown", ({ key }) => {
      if (key !== "Escape" || !menu.open) return;
      menu.open = false;
      menu.querySelector("summary").focus();
    });
  }
}

function showFilters(state, change) {
  if (byId("search").value !== state.q) byId("search").value = state.q;
  for (const key of ["family", "connector"]) {
    byId(key).querySelectorAll("input").forEach((box) => (box.checked = state[key].includes(box.value)));
  }
  for (const key of ["atleast", "atmost", "preset"]) byId(key).value = state[key];
  const filters = filtersOf(state).length;
  byId("filters-count").textContent = filters ? ` (${filters})` : "";
  byId("references").checked = state.references === "yes";
  byId("seeds").textContent = state.open.length ? "Close seeds" : "Open seeds";
  byId("columns").querySelectorAll("input").forEach((box) => (box.checked = isShown(COLUMN.get(box.value), state)));
  byId("columns-count").textContent = ` (${shownColumns(state).length} of ${COLUMNS.length})`;
  byId("reset").hidden = writeState({ ...state, row: "" }) === "";
  showBounds(state, change);
}

/** How many models pass, said to a screen reader too; and the way to the other pages, where there are any. */
function showCount({ table }, change) {
  const all = table.getCoreRowModel().rows.length;
  const passing = table.getFilteredRowModel().rows.length;
  byId("count").textContent = passing === all ? `${all} ${all === 1 ? "connector" : "connectors"}` : `${passing} of ${all} connectors`;
  const { pageIndex } = table.getState().pagination;
  const pages = table.getPageCount();
  byId("pages").hidden = pages < 2;
  byId("page").textContent = `page ${pageIndex + 1} of ${pages}`;
  byId("previous").disabled = pageIndex === 0;
  byId("next").disabled = pageIndex >= pages - 1;
  byId("previous").onclick = () => change({ page: String(pageIndex) });
  byId("next").onclick = () => change({ page: String(pageIndex + 2) });
}
