// Tests with the bundle that M3E_BUNDLE names.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { M3eError, Model } from "../model.js";

const bundle = process.env.M3E_BUNDLE;
assert(bundle, "M3E_BUNDLE names a bundle");

let model;
before(async () => {
  model = await Model.open(bundle);
});
after(() => model.close());

test("golden vectors", async (t) => {
  const { artifacts, golden } = JSON.parse(await readFile(join(bundle, "manifest.json"), "utf8"));
  for (const { name, precision } of artifacts.filter(({ format }) => format === "native")) {
    await t.test(name, async () => {
      const opened = await Model.open(bundle, { artifact: name, threads: 2 });
      assert.equal(opened.artifact, name);
      const { vectors } = await opened.encode(golden.texts, { prompt: golden.prompt });
      const expected = unpack(golden.vectors, opened.dimension);
      await opened.close();
      assert.equal(vectors.length, expected.length);
      vectors.forEach((vector, i) => {
        const least = precision === "int8" ? 0.99 : 0.9999;
        assert(cosine(vector, expected[i]) >= least, `golden text ${i}`);
      });
    });
  }
});

test("a zero byte and characters beyond the basic plane count", async () => {
  const texts = ["morning", "morning\0 train", "morning 😀𠮷"];
  const { vectors } = await model.encode(texts);
  for (const other of vectors.slice(1)) assert(cosine(vectors[0], other) < 0.999);
});

test("options and cut tokens", async () => {
  const texts = ["", "long ".repeat(10000)];
  const { vectors, cut } = await model.encode(texts, { truncateDim: 32, normalize: true });
  for (const vector of vectors) {
    assert.equal(vector.length, 32);
    assert(Math.abs(dot(vector, vector) - 1) < 1e-5);
  }
  assert.equal(cut[0], 0);
  assert(cut[1] > 5000);
});

test("no texts", async () => {
  assert.deepEqual(await model.encode([]), { vectors: [], cut: [] });
});

test("several calls at once, and close waits for them", async () => {
  const texts = ["one text", "another text"];
  const expected = await model.encode(texts);
  const opened = await Model.open(bundle);
  const calls = Array.from({ length: 8 }, () => opened.encode(texts));
  await opened.close();
  for (const found of await Promise.all(calls)) assert.deepEqual(found, expected);
  await opened.close();
  await assert.rejects(opened.encode(texts), /closed/);
});

test("errors", async () => {
  await assert.rejects(Model.open(join(bundle, "missing")), failsWith("M3E_ERROR_FILE"));
  await assert.rejects(Model.open("zero\0byte"), failsWith("M3E_ERROR_ARGUMENT"));
  const unknown = model.encode(["text"], { promptName: "no such prompt" });
  await assert.rejects(unknown, failsWith("M3E_ERROR_ARGUMENT"));
  await assert.rejects(model.encode([1]), TypeError);
  await assert.rejects(model.encode(["text"], { truncateDim: 2 ** 32 }), RangeError);
  await assert.rejects(model.encode(["text"], { truncateDim: -1 }), failsWith("M3E_ERROR_ARGUMENT"));
});

function failsWith(code) {
  return (error) => error instanceof M3eError && error.code === code && error.message !== "";
}

function unpack(base64, dimension) {
  const bytes = Buffer.from(base64, "base64");
  const values = Array.from({ length: bytes.length / 4 }, (_, i) => bytes.readFloatLE(4 * i));
  return Array.from({ length: values.length / dimension }, (_, i) =>
    values.slice(i * dimension, (i + 1) * dimension),
  );
}

function dot(a, b) {
  return a.reduce((sum, value, i) => sum + value * b[i], 0);
}

function cosine(a, b) {
  return dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
}
