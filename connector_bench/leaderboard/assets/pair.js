// Two ticked rows side by side: what each figure differs by, paired over the same images where the results allow it.

function showPair(state) {
  const panel = byId("pair");
  const [first, second] = state.pair.map((id) => ROW.get(id));
  panel.hidden = !first;
  if (!first) return;
  byId("pair-title").replaceChildren(...(second ? [name(first.model), " less ", name(second.model)] : [name(first.model), ": tick a second row to compare"]));
  byId("pair-content").replaceChildren(...(second ? comparisonOf(first, second, state) : []));
}

/** Column -> [difference, half of its interval] of what was reckoned from the same images. */
function pairedOf(first, second) {
  const [one, two] = [ENTRIES.indexOf(first), ENTRIES.indexOf(second)];
  const sign = one < two ? 1 : -1;
  const found = DATA.pairs[`${Math.min(one, two)} ${Math.max(one, two)}`] ?? [];
  return new Map(found.map(([place, value, half]) => [COLUMNS[place].id, [sign * value, half]]));
}

function comparisonOf(first, second, state) {
  const paired = pairedOf(first, second);
  const both = COLUMNS.filter((column) => first.figures[column.id] && second.figures[column.id]);
  const columns = [...both.filter((column) => isShown(column, state)), ...both.filter((column) => paired.has(column.id) && !isShown(column, state))];
  const lines = columns.map((column) => ({ column, ...differenceOf(column, first, second, paired) }));
  return [
    make("p", {}, sentenceOf(lines, first, second)),
    make("div", { class: "scroll low", role: "region", tabindex: "0", "aria-label": "differences" }, make(
      "table",
      {},
      make("thead", {}, make("tr", {}, ["figure", "difference", name(first.model), name(second.model), "interval"].map((label, place) => make("th", { scope: "col", class: place && place < 4 ? "figure" : "" }, label)))),
      make("tbody", {}, lines.map((line) => pairRow(line, first, second))),
    )),
    make("small", { class: "below" }, "Bold: the interval leaves 0 out. Paired: over the same images, so that what makes an image hard for both falls out; with seeds, over these too. Not paired: from both intervals, and wider than it need be where images are shared. No correction for many figures."),
  ];
}

/** The difference with half of its interval: paired, or from both recorded intervals, or without one. */
function differenceOf(column, first, second, paired) {
  const [one, two] = [first.figures[column.id], second.figures[column.id]];
  if (paired.has(column.id)) {
    const [value, half] = paired.get(column.id);
    return { value, low: value - half, high: value + half, how: "paired" };
  }
  const value = one[0] - two[0];
  if (one[1] === null || two[1] === null) return { value, low: NaN, high: NaN, how: "none recorded" };
  const side = (a, b) => Math.hypot(Math.max(0, a), Math.max(0, b));
  return { value, low: value - side(one[0] - one[1], two[2] - two[0]), high: value + side(one[2] - one[0], two[0] - two[1]), how: "not paired" };
}

const differs = ({ value, low, high }) => Math.abs(value) > 1e-6 && (low > 0 || high < 0);

const pairRow = (line, first, second) =>
  make(
    "tr",
    {},
    make("th", { scope: "row" }, line.column.label, direction(line.column), make("small", {}, " ", name(line.column.group.task))),
    make("td", { class: differs(line) ? "figure differs" : "figure" }, signed(line.value) + ends(line.value, line.low, line.high)),
    figureCell(first.figures[line.column.id]),
    figureCell(second.figures[line.column.id]),
    make("td", {}, line.how),
  );

/** In words, by what boards are sorted by and by tasks, as far as they are shown. */
function sentenceOf(lines, first, second) {
  const shown = lines.filter(({ column }) => isShown(column, state));
  const main = shown.filter(({ column }) => column.measure === null || SORTED_BY.includes(column));
  const said = (main.length ? main : lines).slice(0, 3).map((line) => {
    const { column, value } = line;
    const how = !differs(line) ? "no difference that stands out" : value > 0 ? "higher" : "lower";
    return `${column.label} ${how} (${signed(value)}${ends(value, line.low, line.high)})`;
  });
  return said.length ? `${first.model} beside ${second.model}: ${said.join("; ")}.` : "The two have no figure in common.";
}
