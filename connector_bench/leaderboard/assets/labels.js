// Names beside the points of the scatter, as far as there is room: the others are told by pointer and keyboard.

const LETTER = { width: 6.4, height: 13 }; // in pixels, of the plot's 12 px letters, a little generous
const MOST_LABELS = 60;
const MARGIN = 54; // of the plot at its left, for the axis
const POINT = 7; // half of what a point takes

/** Write each point's label to its right or else its left, where it covers no point, no other label and no edge; below the tip. */
function labelPoints(plot, points, width) {
  const [x, y] = [plot.scale("x"), plot.scale("y")];
  const places = points.map((point) => [x.apply(point.xValue), y.apply(point.yValue)]);
  const taken = places.map(([across, down]) => ({ left: across - POINT, right: across + POINT, top: down - POINT, bottom: down + POINT }));
  const labels = d3.select(plot).insert("g", ":scope > g:last-of-type").attr("aria-hidden", "true").attr("pointer-events", "none").attr("fill", "currentColor").attr("text-anchor", "start").attr("stroke", "var(--paper)").attr("stroke-width", 3).attr("stroke-linejoin", "round").attr("paint-order", "stroke"); // read across the lines of intervals
  points.forEach((point, index) => {
    const box = boxesOf(point.label, places[index]).find((candidate) => candidate.left > MARGIN && candidate.right < width && taken.every((other) => apart(candidate, other)));
    if (!box) return;
    taken.push(box);
    labels.append("text").attr("x", box.left).attr("y", box.bottom - 3).text(point.label);
  });
}

function boxesOf(label, [across, down]) {
  const length = LETTER.width * label.length;
  const lines = { top: down - LETTER.height / 2, bottom: down + LETTER.height / 2 };
  const right = across + POINT + 3;
  const left = across - POINT - 3 - length;
  return [
    { left: right, right: right + length, ...lines },
    { left, right: left + length, ...lines },
  ];
}

const apart = (a, b) => a.right < b.left || b.right < a.left || a.bottom < b.top || b.bottom < a.top;
