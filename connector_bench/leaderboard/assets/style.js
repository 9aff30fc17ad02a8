// Numbers as connector_bench/number_style.py writes them: 0.701 ±.011. A test holds one against the other.

const NONE = "–";
const MINUS = "−";
const LIKE = 1 / 3; // share of the wider side by which the sides of an interval may differ and still be one ±

const compact = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });

const inThree = new Intl.NumberFormat("en", { notation: "compact", minimumSignificantDigits: 3, maximumSignificantDigits: 3 });
/** A number of parameters with three digits, `31.0K`; whole below a thousand. */
const sized = (count) => (count < 1000 ? String(count) : inThree.format(count));

const decimals = (value) => [9.9995, 99.995, 999.95].reduce((places, end) => places - (Math.abs(value) >= end), 3);

/** Rounded from the number as it is stored; a tie goes to the even digit. */
function fixed(value, places) {
  const exact = Math.abs(value).toFixed(60);
  const cut = exact.indexOf(".") + (places ? 1 + places : 0);
  const tie = /^[.]?50*$/.test(exact.slice(cut)) && /[02468]$/.test(exact.slice(0, cut));
  const [whole, rest] = (tie ? exact.slice(0, cut) : Math.abs(value).toFixed(places)).split(".");
  const text = [whole.replace(/\B(?=(\d{3})+$)/g, ","), rest].filter(Boolean).join(".");
  return value < 0 && /[1-9]/.test(text) ? MINUS + text : text;
}

const part = (width, places) => (places ? fixed(width, places).replace(/^0/, "") : fixed(width, places));

const number = (value) => (Number.isFinite(value) ? fixed(value, decimals(value)) : NONE);
const signed = (value) => (value > 0 && /[1-9]/.test(number(value)) ? "+" : "") + number(value);
const span = (low, high) => `${number(low)} to ${number(high)}`;

/** What stands behind a value for its interval: ` ±.011`, ` +.030 −.011`, or nothing. */
function ends(value, low, high) {
  if (!Number.isFinite(value) || !Number.isFinite(low) || !Number.isFinite(high)) return "";
  const [below, above] = [Math.max(0, value - low), Math.max(0, high - value)];
  const [places, wider] = [decimals(value), Math.max(below, above)];
  if (Math.abs(above - below) <= LIKE * wider || part(below, places) === part(above, places)) return ` ±${part(wider, places)}`;
  const [up, down, nothing] = [part(above, places), part(below, places), part(0, places)];
  return (up === nothing ? "" : ` +${up}`) + (down === nothing ? "" : ` ${MINUS}${down}`);
}

const counted = (n, one, many = `${one}s`) => `${n.toLocaleString("en")} ${n === 1 ? one : many}`;

const withInterval = (value, low, high, sign = "") => sign + number(value) + ends(value, low, high);
const difference = (value, half) => signed(value) + ends(value, value - half, value + half);

/** A figure's value and what stands behind it; of a control, which is a median, the smallest and the largest. */
function styled([value, low, high, , sign = ""], kind) {
  if (kind === "control") return [number(value), low === null ? "" : ` (${span(low, high)})`];
  return [sign + number(value), ends(value, low ?? NaN, high ?? NaN)];
}
const figureText = (figure, kind) => (figure ? styled(figure, kind).join("") + (figure[5] ? ` (${figure[5]})` : "") : "");
