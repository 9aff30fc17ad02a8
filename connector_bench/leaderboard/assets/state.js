// A view of the page is its state, and its state is the fragment of its address: every view has a permalink.

const DEFAULTS = {
  q: "", // words that a row must hold
  family: [],
  connector: [],
  atleast: "", // connector parameters
  atmost: "",
  where: [], // bounds of figures: `patch_reconstruction/lost<=0.3`
  references: "yes",
  sort: "", // column, with "-" in front for descending
  preset: "essentials",
  show: [], // columns beyond the preset's
  hide: [], // the preset's left out
  page: "1",
  open: [], // connectors whose seeds are shown, "*" for all
  pair: [], // two rows that are compared
  x: "", // columns of the scatter
  y: "",
  points: "mean", // or seeds
  row: "", // whose details are open
};

/** The state that a fragment names; what it does not name, or names wrongly, is the default. */
function readState(fragment) {
  const given = new URLSearchParams(fragment);
  const found = Object.fromEntries(
    Object.entries(DEFAULTS).map(([key, usual]) => [
      key,
      Array.isArray(usual) ? unique(given.getAll(key)) : (given.get(key) ?? usual),
    ]),
  );
  if (!PRESETS.includes(found.preset)) found.preset = DEFAULTS.preset;
  if (!["mean", "seeds"].includes(found.points)) found.points = DEFAULTS.points;
  found.where = found.where.filter((text) => boundOf(text));
  found.pair = found.pair.filter((id) => ["competitor", "reference"].includes(ROW.get(id)?.kind)).slice(0, 2);
  return found;
}

/** The shortest fragment that gives this state again. */
function writeState(state) {
  const fragment = new URLSearchParams();
  for (const [key, usual] of Object.entries(DEFAULTS)) {
    if (Array.isArray(usual)) state[key].forEach((value) => fragment.append(key, value));
    else if (state[key] !== usual) fragment.set(key, state[key]);
  }
  return fragment.toString();
}

/** `task/metric<=0.3` as its column, its sign and its number; null where it is none. */
function boundOf(text) {
  const [, id, sign, limit] = text.match(/^(.*)(<=|>=)(-?[\d.]+(?:e-?\d+)?)$/s) ?? [];
  const column = COLUMN.get(id);
  return column && Number.isFinite(Number(limit)) ? { column, sign, limit: Number(limit) } : null;
}
