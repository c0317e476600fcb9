// A line chart of the last minutes, in SVG. A pointer or the arrow keys read earlier values.

import { element, svg } from "./elements.js";
import { isApart } from "./history.js";
import { text } from "./language.js";
import { marks } from "./scale.js";

const HEIGHT = 168;
const MARGIN = { top: 10, right: 10, bottom: 22, left: 52 };
/** Milliseconds of the time axis, at least and at most. */
const SPAN = [60_000, 300_000];

export class Chart {
  #figure;
  #options;
  #legend = element("p", { class: "legend" });
  #note = element("p", { class: "quiet note" });
  #plot = svg("svg", { role: "img", tabindex: "0", height: HEIGHT });
  #title = element("h3");
  #samples = [];
  #cursor = null;

  /**
   * @param figure where it is drawn.
   * @param options `title`: key of its text; `series`: names of the samples' values; `format`: makes a text of a value;
   *   `least`: lowest end of the value axis; `note`: makes the line below the chart from a sample.
   */
  constructor(figure, options) {
    this.#figure = figure;
    this.#options = options;
    figure.append(element("figcaption", {}, this.#title, this.#legend), this.#plot, this.#note);
    this.#plot.addEventListener("pointermove", (event) => this.#point(event.offsetX));
    this.#plot.addEventListener("pointerleave", () => this.#moveTo(null));
    this.#plot.addEventListener("blur", () => this.#moveTo(null));
    this.#plot.addEventListener("keydown", (event) => this.#key(event));
    new ResizeObserver(() => this.draw(this.#samples)).observe(this.#plot);
  }

  draw(samples) {
    this.#samples = samples;
    const width = this.#plot.clientWidth;
    const shown = this.#cursor ?? samples.at(-1);
    this.#describe(shown);
    if (!width) return;
    this.#plot.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    const axes = this.#axes(width);
    this.#plot.replaceChildren(...this.#grid(axes), ...this.#lines(axes), ...this.#rule(axes), ...this.#emptiness(axes));
  }

  #axes(width) {
    const { series, least } = this.#options;
    const values = this.#samples.flatMap((sample) => series.map((name) => sample[name] ?? 0));
    const levels = marks(Math.max(least, ...values));
    const end = this.#samples.at(-1)?.time ?? 0;
    const age = end - (this.#samples[0]?.time ?? 0);
    const span = Math.min(Math.max(age, SPAN[0]), SPAN[1]);
    const right = width - MARGIN.right;
    const bottom = HEIGHT - MARGIN.bottom;
    return {
      ...{ levels, right, bottom, span },
      x: (time) => right - ((end - time) / span) * (right - MARGIN.left),
      y: (value) => bottom - (value / levels.at(-1)) * (bottom - MARGIN.top),
    };
  }

  #grid({ levels, right, bottom, span, y }) {
    const lines = levels.map((level) => svg("path", { class: "grid", d: `M${MARGIN.left} ${y(level)}H${right}` }));
    const labels = levels.map((level) =>
      svg("text", { x: MARGIN.left - 8, y: y(level) + 4, "text-anchor": "end" }, this.#options.format(level)));
    const ends = [
      svg("text", { x: MARGIN.left, y: bottom + 17 }, ago(span)),
      svg("text", { x: right, y: bottom + 17, "text-anchor": "end" }, text("now")),
    ];
    return [...lines, ...labels, ...ends];
  }

  #lines(axes) {
    const { series } = this.#options;
    return series.flatMap((name) => {
      const runs = runsOf(this.#samples, name);
      const line = svg("path", { class: `line ${name}`, d: runs.map((run) => lineOf(run, name, axes)).join("") });
      if (series.length > 1) return [line];
      return [svg("path", { class: `area ${name}`, d: runs.map((run) => areaOf(run, name, axes)).join("") }), line];
    });
  }

  #rule({ x, y, bottom }) {
    if (!this.#cursor) return [];
    const place = x(this.#cursor.time);
    const dots = this.#options.series
      .filter((name) => this.#cursor[name] !== null)
      .map((name) => svg("circle", { class: `dot ${name}`, cx: place, cy: y(this.#cursor[name]), r: 3.5 }));
    return [svg("path", { class: "rule", d: `M${place} ${MARGIN.top}V${bottom}` }), ...dots];
  }

  #emptiness({ right, bottom }) {
    const { series } = this.#options;
    if (this.#samples.some((sample) => series.some((name) => sample[name] !== null))) return [];
    const place = { x: (MARGIN.left + right) / 2, y: (MARGIN.top + bottom) / 2, "text-anchor": "middle" };
    return [svg("text", { class: "emptiness", ...place }, text("noTraffic"))];
  }

  /** Legend, note and label show the values of one sample. */
  #describe(sample) {
    const { title, series, format, note } = this.#options;
    const values = series.map((name) => [name, sample?.[name] == null ? "–" : format(sample[name])]);
    this.#title.textContent = text(title);
    this.#legend.replaceChildren(...values.map(([name, value]) =>
      element("span", { class: `series ${name}` },
        element("span", { class: "quiet" }, text(name)), element("b", {}, value))));
    this.#note.textContent = sample ? note(sample) : "";
    const spoken = values.map(([name, value]) => `${text(name)} ${value}`).join(", ");
    this.#plot.setAttribute("aria-label", text("chartLabel", { title: text(title), values: spoken }));
  }

  #point(offset) {
    if (!this.#samples.length) return;
    const { x } = this.#axes(this.#plot.clientWidth);
    const distance = (sample) => Math.abs(x(sample.time) - offset);
    this.#moveTo(this.#samples.reduce((best, each) => (distance(each) < distance(best) ? each : best)));
  }

  #key(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step || !this.#samples.length) return;
    event.preventDefault();
    const last = this.#samples.length - 1;
    const index = this.#cursor ? this.#samples.indexOf(this.#cursor) : last;
    this.#moveTo(this.#samples[Math.min(Math.max(index + step, 0), last)]);
  }

  #moveTo(sample) {
    this.#cursor = sample;
    this.draw(this.#samples);
  }
}

function ago(span) {
  const seconds = Math.round(span / 1000);
  return seconds < 120 ? text("secondsAgo", { n: seconds }) : text("minutesAgo", { n: Math.round(seconds / 60) });
}

/** Samples in a row that have the value; a line never crosses a pause. */
function runsOf(samples, name) {
  const runs = [];
  let last = null;
  for (const sample of samples) {
    if (sample[name] !== null) {
      if (!last || isApart(last, sample)) runs.push([]);
      runs.at(-1).push(sample);
    }
    last = sample[name] === null ? null : sample;
  }
  return runs;
}

function lineOf(run, name, { x, y }) {
  const points = run.map((sample) => `${x(sample.time).toFixed(1)} ${y(sample[name]).toFixed(1)}`);
  return `M${points.join("L")}${points.length === 1 ? "h0.1" : ""}`;
}

function areaOf(run, name, axes) {
  const end = (sample) => axes.x(sample.time).toFixed(1);
  return `${lineOf(run, name, axes)}L${end(run.at(-1))} ${axes.bottom}L${end(run[0])} ${axes.bottom}Z`;
}
