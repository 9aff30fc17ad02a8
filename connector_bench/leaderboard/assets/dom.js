// Elements. Text is always set as text: a model's name never becomes markup.

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

const hidden = (text) => make("span", { class: "visually-hidden" }, text);

const BOUNDED = "a bound: more training images still help the probe";

/** A value with its interval behind it; of how many seeds it is, where that is not all. */
function figureCell(figure, kind) {
  if (!figure) return make("td", { class: "figure" }, make("span", { class: "missing" }, "–"), hidden("no figure"));
  const [value, half] = styled(figure, kind);
  return make("td", { class: "figure", title: [DATA.methods[figure[3]], figure[4] ? BOUNDED : null].filter(Boolean).join("; ") || null }, make("span", { class: "value" }, value), make("span", { class: "half" }, half), figure[5] ? make("small", {}, figure[5]) : null);
}

const ways = { true: ["↑", "higher"], false: ["↓", "lower"], null: ["", ""] };

/** Which way is better; of what is no mark, such as neighbours, which way more is kept or found. */
function wayOf(column) {
  const [, way] = ways[column.higher_is_better];
  return way && (column.mark ? `${way} is better` : `${way} where more is kept or found`);
}

/** An arrow for the direction in which a column points, with words for those who do not see it. */
function direction(column) {
  const [arrow] = ways[column.higher_is_better];
  return arrow ? [make("span", { "aria-hidden": "true" }, ` ${arrow}`), hidden(`, ${wayOf(column)}`)] : [];
}
