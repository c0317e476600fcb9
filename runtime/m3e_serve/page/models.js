// A card for each model, from what /info tells, and the names to choose from.

import { ask, reason } from "./api.js";
import { showExample } from "./connect.js";
import { at, element } from "./elements.js";
import { number, onLanguage, text } from "./language.js";

const TASKS = { embed: "taskEmbed", rerank: "taskRerank", classify: "taskClassify" };

/** What /info said, or why it said nothing. */
let found = { models: [], version: "", problem: null };

export function startModels() {
  onLanguage(show);
  loadModels();
}

export async function loadModels() {
  found = await load().catch((error) => ({ models: [], version: "", problem: () => text("failed", { reason: error.message }) }));
  show();
}

async function load() {
  const response = await ask("info");
  if (response.ok) {
    const { m3e, version } = await response.json();
    return { models: m3e, version, problem: null };
  }
  if (response.status !== 401) throw new Error(await reason(response));
  at("key-row").hidden = false;
  return { models: [], version: "", problem: () => text("keyNeeded") };
}

function show() {
  const { models, version, problem } = found;
  at("version").textContent = version;
  at("models").className = models.length ? "cards" : "";
  at("models").replaceChildren(...(problem ? [element("p", { class: "panel problem" }, problem())] : models.map(card)));
  const embedders = models.filter(({ task }) => task === "embed");
  const rerankers = models.filter(({ task }) => task === "rerank");
  offer(at("model"), embedders);
  offer(at("reranker"), rerankers);
  at("compare").hidden = models.length > 0 && embedders.length === 0;
  at("rerank").hidden = rerankers.length === 0;
  showExample(models[0], !at("key-row").hidden);
}

/** The names of models to choose from; what was chosen stays. */
function offer(select, models) {
  const chosen = select.value;
  select.replaceChildren(...models.map(({ name }) => element("option", { value: name }, name)));
  if (models.some(({ name }) => name === chosen)) select.value = chosen;
  select.hidden = models.length === 0;
}

function card(model) {
  return element("article", { class: "panel card" },
    element("header", {}, element("h3", {}, model.name), element("span", { class: "badge" }, model.precision)),
    facts([
      ["task", text(TASKS[model.task])],
      ["dimension", model.dimension && number(model.dimension)],
      ["labels", model.labels?.join(", ")],
      ["maxTokens", number(model.max_seq_length ?? model.max_length)],
      ["pooling", model.pooling],
      ["engine", model.engine],
      ["device", model.device],
      ["threads", number(model.threads)],
      ["instructionSet", model.instruction_set],
    ]),
    ...(model.task === "embed" ? fidelity(model.fidelity) : scoreFidelity(model.fidelity)),
    details(model));
}

/** Terms with their values; what a model does not have is left out. */
function facts(rows) {
  const filled = rows.filter(([, value]) => value);
  return element("dl", {}, ...filled.map(([key, value]) =>
    element("div", {}, element("dt", {}, text(key)), element("dd", {}, value))));
}

function fidelity(measured) {
  const cosine = (value) => number(value, { minimumFractionDigits: 5, maximumFractionDigits: 5 });
  const overlap = number(measured.overlap_at_10, { style: "percent", maximumFractionDigits: 1 });
  return [
    element("h4", {}, text("fidelity")),
    facts([["meanCosine", cosine(measured.mean_cosine)], ["minCosine", cosine(measured.min_cosine)], ["overlap", overlap]]),
    element("p", { class: "quiet" }, text("oracle", { oracle: measured.oracle, texts: number(measured.texts) })),
  ];
}

function scoreFidelity(measured) {
  if (!measured) return [];
  const difference = (value) => number(value, { maximumSignificantDigits: 3 });
  const order = number(measured.order_kept, { style: "percent", maximumFractionDigits: 1 });
  const pairs = number(measured.pairs);
  return [
    element("h4", {}, text("fidelity")),
    facts([
      ["meanDifference", difference(measured.mean_difference)],
      ["maxDifference", difference(measured.max_difference)],
      ["orderKept", order],
    ]),
    element("p", { class: "quiet" }, text("scoreOracle", { oracle: measured.oracle, pairs })),
  ];
}

function details(model) {
  return element("details", {}, element("summary", {}, text("more")), facts([
    ["source", model.source],
    ["artifact", model.artifact],
    ["batchInvariant", text(model.batch_invariant ? "yes" : "no")],
    ["prompts", model.prompts.join(", ")],
    ["licence", model.licence],
  ]));
}
