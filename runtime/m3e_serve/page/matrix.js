// Cosines of all pairs of texts, as a coloured table that a keyboard and a screen reader can walk through.

import { colours } from "./colours.js";
import { element } from "./elements.js";
import { number, text } from "./language.js";

const STEPS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };

/** Cosine of each vector with each. */
export function cosines(vectors) {
  const norms = vectors.map((vector) => Math.sqrt(dot(vector, vector)));
  return vectors.map((a, row) => vectors.map((b, column) => dot(a, b) / (norms[row] * norms[column])));
}

const dot = (a, b) => a.reduce((sum, value, index) => sum + value * b[index], 0);
const shown = (cosine) => number(cosine, { minimumFractionDigits: 3, maximumFractionDigits: 3 });

/** The table, its scale, and the line that tells about the cell that is pointed at. */
export function matrix(texts, vectors) {
  const values = cosines(vectors);
  const lowest = Math.min(0.999, ...values.flat());
  const detail = element("p", { class: "detail", "aria-live": "polite" }, text("matrixHelp"));
  const cells = values.map((line, row) => line.map((cosine, column) => {
    const made = cell(cosine, (cosine - lowest) / (1 - lowest));
    const tell = () => detail.replaceChildren(...pair(texts, row, column, cosine));
    made.addEventListener("focus", tell);
    made.addEventListener("pointerenter", tell);
    made.addEventListener("keydown", (event) => move(event, cells, row, column));
    return made;
  }));
  cells[0][0].tabIndex = 0;
  const table = element("table", { role: "grid", class: "matrix" },
    element("caption", { class: "unseen" }, text("matrixLabel", { count: texts.length })), head(texts), body(texts, cells));
  return [element("div", { class: "scroll" }, table), element("div", { class: "below" }, scale(lowest)), detail];
}

function cell(cosine, share) {
  const made = element("td", { role: "gridcell", tabindex: "-1" }, shown(cosine));
  for (const [name, value] of colours(share)) made.style.setProperty(name, value);
  return made;
}

function head(texts) {
  const names = texts.map((each, index) =>
    element("th", { scope: "col", role: "columnheader", title: each, "aria-label": `${index + 1}: ${each}` }, String(index + 1)));
  const corner = element("th", { scope: "col", role: "columnheader" }, element("span", { class: "unseen" }, text("text")));
  return element("thead", {}, element("tr", { role: "row" }, corner, ...names));
}

function body(texts, cells) {
  const lines = cells.map((line, index) => {
    const label = [element("span", { class: "index" }, String(index + 1)), element("span", { class: "text" }, texts[index])];
    return element("tr", { role: "row" },
      element("th", { scope: "row", role: "rowheader", title: texts[index] }, element("div", {}, ...label)), ...line);
  });
  return element("tbody", {}, ...lines);
}

function pair(texts, row, column, cosine) {
  return [element("b", {}, shown(cosine)), ` “${texts[row]}” · “${texts[column]}”`];
}

/** Only one cell is in the tab order; the arrow keys move it. */
function move(event, cells, row, column) {
  const step = STEPS[event.key];
  const target = step && cells[row + step[0]]?.[column + step[1]];
  if (!target) return;
  event.preventDefault();
  cells[row][column].tabIndex = -1;
  target.tabIndex = 0;
  target.focus();
}

function scale(lowest) {
  const steps = Array.from({ length: 24 }, (_, index) => {
    const step = element("i");
    for (const [name, value] of colours(index / 23)) step.style.setProperty(name, value);
    return step;
  });
  return element("div", { class: "scale", "aria-hidden": "true" }, shown(lowest), element("span", {}, ...steps), shown(1));
}
