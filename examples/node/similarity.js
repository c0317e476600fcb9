// node similarity.js BUNDLE <TEXTS
// Reads texts, one a line, and prints the cosine of the first two.

import { createInterface } from "node:readline/promises";

import { Model } from "./model.js";

async function readLines(input) {
  const lines = [];
  for await (const line of createInterface({ input })) lines.push(line);
  return lines;
}

async function main(bundle) {
  const texts = await readLines(process.stdin);
  if (texts.length < 2) throw new Error("needs two lines of text");
  const model = await Model.open(bundle);
  try {
    const [a, b] = (await model.encode(texts, { normalize: true })).vectors;
    console.log(a.reduce((sum, value, i) => sum + value * b[i], 0).toFixed(4));
  } finally {
    await model.close();
  }
}

if (process.argv.length !== 3) {
  console.error("usage: node similarity.js BUNDLE <TEXTS");
  process.exitCode = 2;
} else {
  main(process.argv[2]).catch((error) => {
    console.error(error.message);
    process.exitCode = 1;
  });
}
