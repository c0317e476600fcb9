// The form that sends texts, and the matrix of their similarities.

import { ask, reason, setKey } from "./api.js";
import { at, element } from "./elements.js";
import { lines, showExample, submit } from "./form.js";
import { duration, number, onLanguage, text } from "./language.js";
import { matrix } from "./matrix.js";

/** A table of more lines would neither fit a screen nor be quick to draw. */
const MOST = 40;
let result = null;

export function startCompare(onKey) {
  at("form").addEventListener("submit", (event) => {
    event.preventDefault();
    compare();
  });
  at("key").addEventListener("change", () => {
    setKey(at("key").value);
    onKey();
  });
  onLanguage(() => {
    showExample(at("texts"), "examples");
    showResult();
  });
}

async function compare() {
  const texts = lines(at("texts"));
  if (texts.length > MOST) {
    at("error").textContent = text("tooMany", { most: MOST, count: texts.length });
    return;
  }
  await submit(at("run"), at("error"), async () => {
    result = await embed(texts);
    showResult();
  });
}

/** Vectors of the texts, and what they cost. */
async function embed(texts) {
  const start = performance.now();
  const response = await ask("v1/embeddings", {
    method: "POST",
    headers: { "Content-Type": "application/json", "M3E-Priority": "query" },
    body: JSON.stringify({ model: at("model").value || undefined, input: texts }),
  });
  if (!response.ok) throw new Error(await reason(response));
  const { data, usage } = await response.json();
  const vectors = data.map((each) => each.embedding);
  return { texts, vectors, tokens: usage.total_tokens, seconds: (performance.now() - start) / 1000 };
}

function showResult() {
  if (!result) return;
  const { texts, vectors, tokens, seconds } = result;
  at("result").replaceChildren(...matrix(texts, vectors));
  const cost = text("cost", { tokens: number(tokens), time: duration(seconds) });
  at("result").querySelector(".below").prepend(element("span", { id: "cost", class: "quiet" }, cost));
}
