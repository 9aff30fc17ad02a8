// What a reader takes away: files, which lie inside the page, tables as text, and the entry to cite.

function buildTake() {
  byId("take-csv").addEventListener("click", () => download("leaderboard.csv", DATA.csv, "text/csv"));
  byId("take-json").addEventListener("click", () => download("leaderboard_page.json", jsonText(), "application/json"));
  byId("take-markdown").addEventListener("click", () => offer("Table as Markdown", viewAs(MARKDOWN)));
  byId("take-latex").addEventListener("click", () => offer("Table as LaTeX (booktabs)", viewAs(LATEX)));
  byId("take-bibtex").addEventListener("click", () => offer("BibTeX", byId("bibtex").textContent));
  byId("taken-close").addEventListener("click", () => byId("taken").close());
}

function download(file, text, type) {
  const address = URL.createObjectURL(new Blob([text], { type: `${type};charset=utf-8` }));
  make("a", { href: address, download: file }).click();
  setTimeout(() => URL.revokeObjectURL(address), 1000);
}

/** Every figure that the page holds, by model and column. */
function jsonText() {
  const columns = COLUMNS.map(({ id, label, meaning, chance, higher_is_better, group }) => ({ name: id, label, meaning, chance, higher_is_better, n: group.n }));
  const rows = DATA.rows.map((row) => ({
    model: row.name,
    kind: row.kind,
    seeds: row.seeds,
    parameters: row.parameters,
    figures: Object.fromEntries(Object.entries(row.figures).map(([id, [value, low, high, method, sign, seeds]]) => [id, { value, low, high, method: DATA.methods[method], bound: sign?.trim() || undefined, measured: seeds }])),
  }));
  return JSON.stringify({ measured: DATA.measured, date: DATA.date, protocol: DATA.protocol, columns, rows }, null, 1);
}

/** Shown to be copied by hand, and copied at once where the browser allows it. */
async function offer(title, text) {
  byId("taken-title").textContent = title;
  const area = byId("taken-text");
  area.value = text;
  byId("taken-note").textContent = "Select and copy.";
  byId("taken").showModal();
  area.select();
  try {
    await navigator.clipboard.writeText(text);
    byId("taken-note").textContent = "Copied.";
  } catch { /* the text is selected, for the keyboard to copy */ }
}

const MARKDOWN = {
  escaped: (text) => text.replace(/[\\`*_[\]|~<>#@]/g, "\\$&").replace(/\s+/g, " "),
  table: (heads, lines) => [heads, heads.map((_, place) => (place < 2 ? ":--" : "--:")), ...lines].map((cells) => `| ${cells.join(" | ")} |`).join("\n"),
};
const IN_LATEX = { "\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "<": "\\textless{}", ">": "\\textgreater{}", "±": "$\\pm$", "≤": "$\\leq$", "≥": "$\\geq$", "−": "$-$", "↑": "$\\uparrow$", "↓": "$\\downarrow$", "²": "$^2$", "–": "--" };
const LATEX = {
  escaped: (text) => text.replace(/[\\~^<>±≤≥−↑↓²–]|[{}$&#_%]/g, (sign) => IN_LATEX[sign] ?? `\\${sign}`).replace(/\s+/g, " "),
  table: (heads, lines) => ["\\begin{tabular}{ll" + "r".repeat(heads.length - 2) + "}", "\\toprule", `${heads.join(" & ")} \\\\`, "\\midrule", ...lines.map((cells) => `${cells.join(" & ")} \\\\`), "\\bottomrule", "\\end{tabular}"].join("\n"),
};

/** The columns and rows of the view as text: what passes the filters, in its order, open seeds below their connector. */
function viewAs({ escaped, table }) {
  const [columns, ranking] = [shownColumns(state), rankingOf(state)];
  const heads = ["rank", "connector", ...columns.map((column) => `${column.label}${column.higher_is_better === null ? "" : ` ${ways[column.higher_is_better][0]}`}`)];
  const rows = tablesFor(state).flatMap(({ table: one }) => one.getSortedRowModel().rows.map((row) => row.original)).flatMap((row) => [row, ...(isOpen(row, state) ? seedsOf(row) : [])]);
  const lines = rows.map((row) => [
    row.kind === "seed" ? "" : (row.ranks[ranking?.id]?.place ?? ""),
    row.kind === "seed" ? `${ROW.get(row.of).model}, ${row.model}` : row.model,
    ...columns.map((column) => figureText(row.figures[column.id], row.kind)),
  ]);
  return table(heads.map(escaped), lines.map((cells) => cells.map(escaped)));
}
