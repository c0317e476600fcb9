// What the charts show: rates and percentiles between two snapshots of the service's counters.

import { difference, quantile } from "./metrics.js";

/** Milliseconds over which rates and percentiles are taken. */
const WINDOW = 10_000;
/** Milliseconds that the charts go back. */
const KEPT = 300_000;
/** Milliseconds without a snapshot after which the next one has nothing to be compared with. */
const PAUSE = 8_000;

export class History {
  samples = [];
  #snapshots = [];

  /** Add a snapshot. */
  add(now) {
    const last = this.#snapshots.at(-1);
    if (last && (now.time - last.time > PAUSE || isRestarted(now, last))) this.#snapshots = [];
    this.#snapshots = this.#snapshots.filter(({ time }) => now.time - time <= WINDOW + PAUSE / 8);
    this.#snapshots.push(now);
    this.samples = this.samples.filter(({ time }) => now.time - time <= KEPT);
    this.samples.push(sample(now, this.#snapshots[0]));
  }
}

/** Counters start at zero again, and workers that ended take theirs along. */
function isRestarted(now, last) {
  return ["requests", "tokens", "texts", "refused"].some((name) => now[name] < last[name]);
}

function sample(now, before) {
  const { time, waiting, inFlight, refused } = now;
  const seconds = (now.time - before.time) / 1000;
  const rate = (name) => (seconds ? (now[name] - before[name]) / seconds : null);
  const buckets = difference(now.buckets, before.buckets);
  return {
    ...{ time, waiting, inFlight, refused },
    ...{ tokens: rate("tokens"), texts: rate("texts"), requests: rate("requests") },
    ...{ p50: quantile(buckets, 0.5), p95: quantile(buckets, 0.95), p99: quantile(buckets, 0.99) },
  };
}

/** Whether a line between two samples would hide a pause. */
export const isApart = (one, next) => next.time - one.time > PAUSE;
