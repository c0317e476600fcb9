// The form that sends a query with passages, and the passages in the order of their scores.

import { ask, reason } from "./api.js";
import { at, element } from "./elements.js";
import { lines, showExample, submit } from "./form.js";
import { duration, number, onLanguage, text } from "./language.js";

let result = null;

export function startRerank() {
  at("rerank-form").addEventListener("submit", (event) => {
    event.preventDefault();
    submit(at("rerank-run"), at("rerank-error"), rerank);
  });
  onLanguage(() => {
    showExample(at("query"), "queryExample");
    showExample(at("passages"), "passagesExample");
    showResult();
  });
}

async function rerank() {
  const passages = lines(at("passages"));
  const start = performance.now();
  const response = await ask("v1/rerank", {
    method: "POST",
    headers: { "Content-Type": "application/json", "M3E-Priority": "query" },
    body: JSON.stringify({
      model: at("reranker").value || undefined, query: at("query").value, documents: passages, return_documents: false,
    }),
  });
  if (!response.ok) throw new Error(await reason(response));
  const { results, usage } = await response.json();
  result = { results, passages, tokens: usage.total_tokens, seconds: (performance.now() - start) / 1000 };
  showResult();
}

function showResult() {
  if (!result) return;
  const { results, passages, tokens, seconds } = result;
  const items = results.map(({ index, relevance_score: score }) => item(passages[index], score));
  const cost = text("cost", { tokens: number(tokens), time: duration(seconds) });
  at("ranking").replaceChildren(
    element("ol", { class: "ranking", "aria-label": text("ranking") }, ...items),
    element("p", { class: "quiet" }, cost));
}

function item(passage, score) {
  const bar = element("span", { class: "bar-of", "aria-hidden": "true" });
  bar.style.setProperty("--share", `${100 * score}%`);
  const shown = number(score, { minimumFractionDigits: 4, maximumFractionDigits: 4 });
  return element("li", {}, element("span", { class: "passage" }, passage), element("b", {}, shown), bar);
}
