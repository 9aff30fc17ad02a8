// A view of the page is its state, and its state is the fragment of its address: every view has a permalink.

const DEFAULTS = {
  q: "", // words that a row must hold
  family: [],
  connector: [],
  atleast: "", // connector parameters
  atmost: "",
  references: "yes",
  sort: "", // column, with "-" in front for descending
  show: [], // columns beyond the usual ones
  hide: [], // usual ones left out
  page: "1",
  x: "", // columns of the scatter
  y: "",
  row: "", // whose details are open
};

/** The state that a fragment names; what it does not name, or names wrongly, is the default. */
function readState(fragment) {
  const given = new URLSearchParams(fragment);
  return Object.fromEntries(
    Object.entries(DEFAULTS).map(([key, usual]) => [
      key,
      Array.isArray(usual) ? unique(given.getAll(key)) : (given.get(key) ?? usual),
    ]),
  );
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
