// The functions of m3e.h that model.js uses.

import { join } from "node:path";
import { promisify } from "node:util";

import koffi from "koffi";

const ABI_VERSION = 2;
const FILES = { darwin: "lib/libm3e.dylib", win32: "bin/m3e.dll" };

/** M3E_LIBRARY names the file, M3E_ROOT its folder's parent; without both the system searches. */
function path() {
  const { M3E_LIBRARY: library, M3E_ROOT: root } = process.env;
  const file = FILES[process.platform] ?? "lib/libm3e.so";
  return library ?? (root ? join(root, file) : file.slice(4));
}

const library = koffi.load(path());
const version = library.func("uint32_t m3e_abi_version()")();
if (version !== ABI_VERSION) {
  throw new Error(`${path()} has ABI ${version}, and this package needs ${ABI_VERSION}`);
}

koffi.opaque("m3e_model");
export const Options = koffi.struct("m3e_options", {
  size: "size_t",
  threads: "int32_t",
  instruction_set: "str",
  artifact: "str",
  skip_verification: "int32_t",
  reserved: "int32_t",
});
export const Embedding = koffi.struct("m3e_embedding", {
  size: "size_t",
  prompt_name: "str",
  prompt: "str",
  truncate_dim: "int32_t",
  normalize: "int32_t",
  output: "int",
  ranges: "void *",
  stop: "void *",
  context: "void *",
});

/** A function that runs in a thread of its own and gives a promise. */
function inThread(declaration) {
  return promisify(library.func(declaration).async);
}

export const open = inThread(
  "int m3e_open(str path, const m3e_options *options, _Out_ m3e_model **model, uint8_t *message)",
);
export const embed = inThread(
  "int m3e_embed(m3e_model *model, const uint8_t **texts, const size_t *lengths, size_t count, " +
    "const m3e_embedding *embedding, float *vectors, int64_t *cut, uint8_t *message)",
);
export const close = library.func("void m3e_close(m3e_model *model)");
export const vectorSize = library.func(
  "size_t m3e_vector_size(m3e_model *model, const m3e_embedding *embedding)",
);
export const dimension = library.func("int32_t m3e_model_dimension(m3e_model *model)");
export const artifact = library.func("str m3e_model_artifact(m3e_model *model)");
