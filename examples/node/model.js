// Texts to vectors with the C library of m3e-runtime.

import koffi from "koffi";

import { M3eError, check, messageBuffer, withoutZeroByte } from "./errors.js";
import * as library from "./library.js";

export { M3eError };

/** An open bundle. Several calls of `encode` may run at once. */
export class Model {
  #handle;
  #calls = new Set(); // Each holds the memory that the library reads and writes meanwhile.

  /** Use `Model.open`. */
  constructor(handle) {
    this.#handle = handle;
  }

  /**
   * Open the bundle in the folder `path`.
   *
   * @param {string} path
   * @param {object} [options]
   * @param {number} [options.threads] most threads that one call uses
   * @param {string} [options.artifact] an artifact of the bundle; the default is the fastest one
   * @param {boolean} [options.verify] compare SHA-256 sums
   * @returns {Promise<Model>}
   */
  static async open(path, { threads = 1, artifact, verify = true } = {}) {
    const [handles, message] = [[null], messageBuffer()];
    const options = {
      size: koffi.sizeof(library.Options),
      threads: int32(threads),
      instruction_set: null,
      artifact: withoutZeroByte(artifact),
      skip_verification: verify ? 0 : 1,
      reserved: 0,
    };
    check(await library.open(withoutZeroByte(path), options, handles, message), message);
    return new Model(handles[0]);
  }

  /**
   * Turn texts into vectors, in their order. `cut` tells how many tokens were cut off each text.
   *
   * @param {string[]} texts
   * @param {object} [options] the defaults are those of the bundle
   * @param {string} [options.promptName] a prompt of the bundle
   * @param {string} [options.prompt] text before each text; takes precedence over `promptName`
   * @param {number} [options.truncateDim] leading dimensions to keep
   * @param {boolean} [options.normalize] scale each vector to unit length
   * @returns {Promise<{vectors: Float32Array[], cut: number[]}>}
   */
  async encode(texts, options = {}) {
    const embedding = toEmbedding(options);
    const dimension = library.vectorSize(this.#open(), embedding) / Float32Array.BYTES_PER_ELEMENT;
    const call = newCall(texts, dimension);
    this.#calls.add(call);
    try {
      call.running = embed(this.#handle, call, embedding);
      check(await call.running, call.message);
    } finally {
      this.#calls.delete(call);
    }
    return { vectors: rows(call.values, texts.length, dimension), cut: Array.from(call.cut, Number) };
  }

  /** Length of a vector if `truncateDim` does not shorten it. */
  get dimension() {
    return library.dimension(this.#open());
  }

  /** Name of the artifact that computes. */
  get artifact() {
    return library.artifact(this.#open());
  }

  /** Free the model after the calls that still use it. It may be called more than once. */
  async close() {
    const handle = this.#handle;
    this.#handle = null;
    await Promise.allSettled(Array.from(this.#calls, (call) => call.running));
    library.close(handle);
  }

  [Symbol.asyncDispose]() {
    return this.close();
  }

  #open() {
    if (this.#handle === null) throw new Error("the model is closed");
    return this.#handle;
  }
}

function toEmbedding({ promptName, prompt, truncateDim = 0, normalize = false }) {
  return {
    size: koffi.sizeof(library.Embedding),
    prompt_name: withoutZeroByte(promptName),
    prompt: withoutZeroByte(prompt),
    truncate_dim: int32(truncateDim),
    normalize: normalize ? 1 : 0,
    output: 0,
    ranges: null,
    stop: null,
    context: null,
  };
}

function newCall(texts, dimension) {
  const encoded = texts.map(utf8);
  return {
    encoded,
    lengths: encoded.map((bytes) => bytes.length),
    values: new Float32Array(texts.length * dimension),
    cut: new BigInt64Array(texts.length),
    message: messageBuffer(),
  };
}

function embed(handle, { encoded, lengths, values, cut, message }, embedding) {
  return library.embed(handle, encoded, lengths, encoded.length, embedding, values, cut, message);
}

function utf8(text) {
  if (typeof text !== "string") throw new TypeError("texts must be strings");
  return Buffer.from(text);
}

function int32(number) {
  if (number !== (number | 0)) throw new RangeError(`${number} is not an integer of 32 bits`);
  return number;
}

function rows(values, count, dimension) {
  return Array.from({ length: count }, (_, i) => values.subarray(i * dimension, (i + 1) * dimension));
}
