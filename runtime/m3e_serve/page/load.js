// The service's health and its three charts. Nothing is fetched while nobody looks.

import { look } from "./api.js";
import { Chart } from "./chart.js";
import { at } from "./elements.js";
import { History } from "./history.js";
import { duration, number, onLanguage, text } from "./language.js";
import { snapshot } from "./metrics.js";

const PERIOD = 2000;
const history = new History();
let health = null;
let following = false;

const amount = (value) => number(value, {
  notation: value < 10_000 ? "standard" : "compact",
  maximumFractionDigits: value < 10 || value >= 10_000 ? 1 : 0,
});
const rate = (value) => (value === null ? "–" : amount(value));

export function startLoad() {
  const charts = [
    new Chart(at("latency"), {
      ...{ title: "latency", series: ["p50", "p95", "p99"], format: duration, least: 0.01 },
      note: ({ requests }) => text("latencyNote", { requests: rate(requests) }),
    }),
    new Chart(at("throughput"), {
      ...{ title: "throughput", series: ["tokens"], format: amount, least: 100 },
      note: ({ texts }) => text("throughputNote", { texts: rate(texts) }),
    }),
    new Chart(at("queue"), {
      ...{ title: "queue", series: ["waiting"], format: amount, least: 100 },
      note: ({ inFlight, refused }) => text("queueNote", { inFlight: number(inFlight), refused: number(refused) }),
    }),
  ];
  const show = () => {
    showHealth();
    charts.forEach((chart) => chart.draw(history.samples));
  };
  onLanguage(show);
  document.addEventListener("visibilitychange", () => follow(show));
  follow(show);
}

/** Refresh and show as long as the page is seen. */
async function follow(show) {
  if (following) return;
  following = true;
  while (!document.hidden) {
    await refresh();
    show();
    await new Promise((resolve) => setTimeout(resolve, PERIOD));
  }
  following = false;
}

async function refresh() {
  try {
    health = (await look("readyz")).ok ? "ready" : "notReady";
    const metrics = await look("metrics");
    if (metrics.ok) history.add(snapshot(await metrics.text(), Date.now()));
  } catch {
    health = "notReachable";
  }
}

function showHealth() {
  at("health").textContent = health ? text(health) : "…";
  at("health").className = health === "ready" ? "good" : health ? "bad" : "";
}
