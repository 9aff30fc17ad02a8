// Elements and numbers. Text is always set as text: a model's name never becomes markup.

/** An element with attributes, listeners (`onclick` ...) and children; null children and attributes are left out. */
function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value === true) element.setAttribute(key, "");
    else if (value !== false && value != null) element.setAttribute(key, value);
  }
  element.append(...children.flat().filter((child) => child != null));
  return element;
}

const byId = (id) => document.getElementById(id);
const unique = (values) => [...new Set(values)];

/** A name in its own writing direction, so that it cannot turn its neighbours around, and may break at its parts. */
const name = (text) => make("bdi", {}, text.split(/(?<=[/_])/).flatMap((part) => [part, make("wbr")]).slice(0, -1));

const number = (value) => (Math.abs(value) < 100 ? value.toFixed(3) : value.toLocaleString("en", { maximumFractionDigits: 1 }));
/** A figure's value, after the sign of what is only a bound. */
const shown = ([value, , , , sign = ""]) => sign + number(value);
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });

const hidden = (text) => make("span", { class: "visually-hidden" }, text);

/** The value with its interval drawn on the column's scale, and said for those who do not see it. */
function figureCell(figure, column) {
  if (figure === undefined) return make("td", { class: "figure" }, make("span", { class: "missing" }, "–"), hidden("no figure"));
  const [, low, high] = figure;
  const interval = low === null ? null : `interval ${number(low)} to ${number(high)}`;
  return make(
    "td",
    { class: "figure", title: interval },
    make("span", { class: "value" }, shown(figure)),
    interval && hidden(` (${interval})`),
    intervalBar(figure, column),
  );
}

/** A line from low to high, a mark at the value, a dashed one at chance. */
function intervalBar([value, low, high], column) {
  const bar = make("span", { class: "bar", "aria-hidden": "true" });
  const [first, last] = column.scale;
  const place = (x) => `${(100 * (Math.min(Math.max(x, first), last) - first)) / (last - first || 1)}%`;
  bar.style.setProperty("--value", place(value));
  bar.style.setProperty("--low", place(low ?? value));
  bar.style.setProperty("--high", place(high ?? value));
  if (column.chance !== null) bar.append(make("i"));
  bar.style.setProperty("--chance", place(column.chance ?? first));
  return bar;
}

const better = { true: ["↑", "higher is better"], false: ["↓", "lower is better"], null: ["", ""] };

/** An arrow for the direction in which a column is better, with words for those who do not see it. */
function direction(column) {
  const [arrow, words] = better[column.higher_is_better];
  return arrow ? [make("span", { "aria-hidden": "true", title: words }, ` ${arrow}`), hidden(`, ${words}`)] : [];
}
