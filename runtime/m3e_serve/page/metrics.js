// Reads Prometheus' text format, and takes percentiles from histograms.

const LINE = /^(\w+)(?:\{(.*)\})? (\S+)/;
const LABEL = /(\w+)="((?:[^"\\]|\\.)*)"/g;
const COMPUTING_ROUTES = new Set([
  "/v1/embeddings", "/openai/deployments/{id:path}/embeddings", "/embed", "/embed_sparse", "/", "/similarity",
  "/api/embed", "/api/embeddings",
  "/v1/rerank", "/v2/rerank", "/rerank", "/predict",
]);

/** What the service has counted up to `time`, which is in milliseconds. */
export function snapshot(content, time) {
  const lines = content.split("\n").map(parse).filter(Boolean);
  const total = (name) => lines.filter((line) => line.name === name).reduce((sum, line) => sum + line.value, 0);
  const buckets = bucketsOf(lines);
  return {
    time,
    buckets,
    requests: buckets.length ? buckets.at(-1)[1] : 0,
    tokens: total("m3e_batch_tokens_sum"),
    texts: total("m3e_batch_texts_sum"),
    waiting: total("m3e_waiting_tokens"),
    inFlight: total("m3e_requests_in_flight"),
    refused: total("m3e_rejected_total"),
  };
}

function parse(line) {
  const found = LINE.exec(line);
  if (!found) return null;
  const labels = Object.fromEntries([...(found[2] ?? "").matchAll(LABEL)].map(([, name, value]) => [name, value]));
  return { name: found[1], labels, value: Number(found[3]) };
}

/** Upper bounds in seconds, ascending, each with the number of answers within it. */
function bucketsOf(lines) {
  const counts = new Map();
  for (const { name, labels, value } of lines) {
    if (name !== "m3e_request_seconds_bucket" || !COMPUTING_ROUTES.has(labels.route)) continue;
    const bound = labels.le === "+Inf" ? Infinity : Number(labels.le);
    counts.set(bound, (counts.get(bound) ?? 0) + value);
  }
  return [...counts].sort(([a], [b]) => a - b);
}

/** The answers of `after` that `before` did not have yet. A route appears with its first answer. */
export function difference(after, before) {
  const earlier = new Map(before);
  return after.map(([bound, count]) => [bound, count - (earlier.get(bound) ?? 0)]);
}

/**
 * The time within which `share` of the answers came, as Prometheus' histogram_quantile has it: linear in the bucket,
 * and the last finite bound for answers beyond it. Null where there are none.
 */
export function quantile(buckets, share) {
  const total = buckets.length ? buckets.at(-1)[1] : 0;
  if (!total) return null;
  const rank = share * total;
  const index = buckets.findIndex(([, count]) => count >= rank);
  const [lower, below] = index ? buckets[index - 1] : [0, 0];
  const [upper, count] = buckets[index];
  return upper === Infinity ? lower : lower + ((upper - lower) * (rank - below)) / (count - below);
}
