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
  byId("reset").addEventListener("click", () => change({ ...DEFAULTS }));
  byId("columns").append(...DATA.groups.map((group) => columnChoices(group, change)));
  closeOutside();
}

/** A checkbox a value, with how many rows have it. */
function choices(key, change) {
  const counts = new Map();
  for (const row of DATA.rows) if (row[key] !== null) counts.set(row[key], (counts.get(row[key]) ?? 0) + 1);
  const boxes = [...counts].sort(([a], [b]) => a.localeCompare(b)).map(([value, count]) => {
    const box = make("input", { type: "checkbox", value, "data-filter": key });
    return make("label", {}, box, " ", name(value), make("small", {}, ` ${count}`));
  });
  const fieldset = byId(key);
  fieldset.append(...boxes);
  fieldset.addEventListener("change", () => change({ [key]: ticked(fieldset), page: "1" }));
}

const ticked = (parent) => [...parent.querySelectorAll("input:checked")].map((box) => box.value);

function columnChoices(group, change) {
  const boxes = byMetric(group.columns).map((column) =>
    make("label", { title: column.metric }, make("input", { type: "checkbox", value: column.id, "data-choice": "column" }), ` ${column.label}`),
  );
  const fieldset = make("fieldset", {}, make("legend", {}, `${group.title} `, make("small", {}, name(group.task))), boxes);
  fieldset.addEventListener("change", () => {
    const chosen = new Set(ticked(byId("columns")));
    change({
      show: COLUMNS.filter((column) => !column.shown && chosen.has(column.id)).map((column) => column.id),
      hide: COLUMNS.filter((column) => column.shown && !chosen.has(column.id)).map((column) => column.id),
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

function showFilters(state) {
  if (byId("search").value !== state.q) byId("search").value = state.q;
  for (const key of ["family", "connector"]) {
    byId(key).querySelectorAll("input").forEach((box) => (box.checked = state[key].includes(box.value)));
    byId(`${key}-count`).textContent = state[key].length ? ` (${state[key].length})` : "";
  }
  byId("atleast").value = state.atleast;
  byId("atmost").value = state.atmost;
  byId("references").checked = state.references === "yes";
  byId("columns").querySelectorAll("input").forEach((box) => (box.checked = isShown(COLUMN.get(box.value), state)));
  byId("columns-count").textContent = ` (${COLUMNS.filter((column) => isShown(column, state)).length} of ${COLUMNS.length})`;
  byId("reset").hidden = writeState({ ...state, row: "" }) === "";
}

/** How many models pass, said to a screen reader too; and the way to the other pages, where there are any. */
function showCount({ table }, change) {
  const all = table.getCoreRowModel().rows.length;
  const passing = table.getFilteredRowModel().rows.length;
  byId("count").textContent = passing === all ? `${all} models` : `${passing} of ${all} models`;
  const { pageIndex } = table.getState().pagination;
  const pages = table.getPageCount();
  byId("pages").hidden = pages < 2;
  byId("page").textContent = `page ${pageIndex + 1} of ${pages}`;
  byId("previous").disabled = pageIndex === 0;
  byId("next").disabled = pageIndex >= pages - 1;
  byId("previous").onclick = () => change({ page: String(pageIndex) });
  byId("next").onclick = () => change({ page: String(pageIndex + 2) });
}
