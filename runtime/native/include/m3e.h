/* m3e: sentence vectors on a CPU, from C.
 *
 * Load the weights of a bundle's native artifact (a .safetensors file), encode token ids to
 * vectors:
 *
 *     m3e_encoder *encoder;
 *     char message[M3E_MESSAGE_SIZE];
 *     if (m3e_load("model_int8.safetensors", NULL, &encoder, message) != M3E_OK) { ... }
 *     float *vectors = malloc(texts * m3e_dimension(encoder) * sizeof(float));
 *     if (m3e_encode(encoder, ids, offsets, texts, vectors, message) != M3E_OK) { ... }
 *     m3e_free(encoder);
 *
 * An encoder may be used by several threads at once. A text gives the same bytes alone, in any
 * batch and with any number of threads. No function throws, exits or prints. After fork() an
 * encoder works in the child too.
 *
 * From m3e_load to m3e_free the file of weights stays mapped. Never write into it meanwhile: the
 * system ends the process with SIGBUS where a mapped file was cut short, and no library can prevent
 * that. Put new weights into a new file and rename it, or delete the old one first: both leave the
 * mapped file as it is.
 */
#ifndef M3E_H
#define M3E_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define M3E_API __attribute__((visibility("default")))
#else
#define M3E_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Raised when a declaration below changes; functions are only ever added within one number. */
#define M3E_ABI_VERSION 1

#define M3E_MESSAGE_SIZE 512

typedef struct m3e_encoder m3e_encoder;

typedef enum m3e_status {
  M3E_OK = 0,
  /* a value that cannot be used: a token id, a length, an instruction set */
  M3E_ERROR_ARGUMENT = 1,
  M3E_ERROR_FILE = 2,   /* the weights cannot be opened or read */
  M3E_ERROR_FORMAT = 3, /* the weights are damaged, or not of a kind this version knows */
  M3E_ERROR_MEMORY = 4,
  M3E_ERROR_INTERNAL = 5,
  M3E_STOPPED = 6 /* the caller's m3e_stop asked for it */
} m3e_status;

typedef struct m3e_options {
  int32_t threads;             /* most threads that one call uses; 0: 1 */
  const char *instruction_set; /* a name of m3e_instruction_sets; NULL: the fastest */
} m3e_options;

M3E_API uint32_t m3e_abi_version(void);

/* Names of the instruction sets that this processor runs, fastest first, separated by spaces. */
M3E_API const char *m3e_instruction_sets(void);

/* `path` is what open() takes; `options` may be NULL. `message` holds M3E_MESSAGE_SIZE bytes, or is
 * NULL; it is written only on failure, and then *encoder is NULL. The file is memory-mapped: do not
 * change it while in use. */
M3E_API m3e_status m3e_load(const char *path, const m3e_options *options, m3e_encoder **encoder,
                            char *message);

/* Encode `texts` texts. Text i has the token ids ids[offsets[i]] … ids[offsets[i + 1] - 1], special
 * tokens included; `offsets` has texts + 1 entries and starts at 0. Writes texts × m3e_dimension
 * floats, row by row; a text of no tokens gives zeros. On failure the content of `vectors` is
 * undefined. */
M3E_API m3e_status m3e_encode(m3e_encoder *encoder, const int32_t *ids, const int64_t *offsets,
                              size_t texts, float *vectors, char *message);

/* m3e_encode for a bundle whose manifest says include_prompt = false: the first prompt_lengths[i]
 * tokens of text i, special tokens included, are left out of its pooling; 0 leaves out none. Where
 * nothing remains, the pooling "cls" still gives the first token and all others zeros.
 * `prompt_lengths` has `texts` entries, or is NULL. */
M3E_API m3e_status m3e_encode_prompted(m3e_encoder *encoder, const int32_t *ids,
                                       const int64_t *offsets, const int64_t *prompt_lengths,
                                       size_t texts, float *vectors, char *message);

/* Whether to stop; nonzero: stop. */
typedef int (*m3e_stop)(void *context);

/* m3e_encode_prompted that can be stopped. It calls `stop` with `context` in the calling thread
 * about ten times a second, and returns M3E_STOPPED soon after an answer that is not zero. A call
 * that is done sooner never asks. `prompt_lengths` and `stop` may be NULL. */
M3E_API m3e_status m3e_encode_stoppable(m3e_encoder *encoder, const int32_t *ids,
                                        const int64_t *offsets, const int64_t *prompt_lengths,
                                        size_t texts, float *vectors, m3e_stop stop, void *context,
                                        char *message);

/* m3e_encode_stoppable that also writes the last hidden state of every token, the states that are
 * pooled. `states` takes offsets[texts] × m3e_hidden_size floats, row by row in the order of `ids`.
 */
M3E_API m3e_status m3e_encode_tokens(m3e_encoder *encoder, const int32_t *ids,
                                     const int64_t *offsets, const int64_t *prompt_lengths,
                                     size_t texts, float *vectors, float *states, m3e_stop stop,
                                     void *context, char *message);

M3E_API int32_t m3e_dimension(const m3e_encoder *encoder);
M3E_API int32_t m3e_hidden_size(const m3e_encoder *encoder); /* of a token's hidden state */
M3E_API int32_t m3e_max_tokens(const m3e_encoder *encoder);  /* of one text */
M3E_API int32_t m3e_vocabulary_size(const m3e_encoder *encoder);
M3E_API int32_t m3e_threads(const m3e_encoder *encoder);
M3E_API const char *m3e_instruction_set(const m3e_encoder *encoder);

/* Unmaps the weights and frees all memory. No call with `encoder` may run. NULL is allowed. */
M3E_API void m3e_free(m3e_encoder *encoder);

#ifdef __cplusplus
}
#endif

#endif
