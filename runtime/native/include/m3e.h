/* m3e: sentence vectors on a CPU, from C.
 *
 * Load a bundle's native artifact, a .safetensors file of weights, and encode token ids to vectors:
 *
 *     m3e_encoder *encoder;
 *     char message[M3E_MESSAGE_SIZE];
 *     if (m3e_load("model_int8.safetensors", NULL, &encoder, message) != M3E_OK) { ... }
 *     float *vectors = malloc(texts * m3e_dimension(encoder) * sizeof(float));
 *     if (m3e_encode(encoder, ids, offsets, texts, vectors, message) != M3E_OK) { ... }
 *     m3e_free(encoder);
 *
 * Several threads may use one encoder at once. A text gives the same bytes alone, in any batch and
 * with any number of threads. No function throws, exits or prints. After fork() the child can use
 * its parent's encoder.
 *
 * The file of weights stays mapped from m3e_load to m3e_free. Do not write to it while it is
 * mapped: if the file becomes shorter, the system ends the process with SIGBUS, and no library can
 * prevent that. To replace the weights, write a new file and rename it, or delete the old file
 * first. Both leave the mapped file intact.
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

/* Incremented when a declaration below changes. New functions do not change it. */
#define M3E_ABI_VERSION 1

#define M3E_MESSAGE_SIZE 512

typedef struct m3e_encoder m3e_encoder;

typedef enum m3e_status {
  M3E_OK = 0,
  /* An argument is out of range: a token id, a length, an instruction set. */
  M3E_ERROR_ARGUMENT = 1,
  M3E_ERROR_FILE = 2,   /* The file cannot be opened or read. */
  M3E_ERROR_FORMAT = 3, /* The file is damaged, or this version does not know its format. */
  M3E_ERROR_MEMORY = 4,
  M3E_ERROR_INTERNAL = 5,
  M3E_STOPPED = 6 /* The caller's m3e_stop returned nonzero. */
} m3e_status;

typedef struct m3e_options {
  int32_t threads;             /* Most threads that one call uses; 0 means 1. */
  const char *instruction_set; /* A name from m3e_instruction_sets; NULL means the fastest. */
} m3e_options;

M3E_API uint32_t m3e_abi_version(void);

/* Names of the instruction sets that this processor supports, fastest first, separated by spaces.
 */
M3E_API const char *m3e_instruction_sets(void);

/* `path` is passed to open(). `options` may be NULL. `message` has room for M3E_MESSAGE_SIZE bytes,
 * or is NULL. It is written only on failure, and *encoder is NULL then. */
M3E_API m3e_status m3e_load(const char *path, const m3e_options *options, m3e_encoder **encoder,
                            char *message);

/* Encode `texts` texts. Text i has the token ids ids[offsets[i]] … ids[offsets[i + 1] - 1], special
 * tokens included. `offsets` has texts + 1 entries and starts at 0. Writes texts × m3e_dimension
 * floats, row by row. A text without tokens gives zeros. On failure the content of `vectors` is
 * undefined. */
M3E_API m3e_status m3e_encode(m3e_encoder *encoder, const int32_t *ids, const int64_t *offsets,
                              size_t texts, float *vectors, char *message);

/* m3e_encode for a bundle whose manifest says include_prompt = false. The pooling skips the first
 * prompt_lengths[i] tokens of text i, special tokens included. If no token remains, the pooling
 * "cls" gives the first token, and every other pooling gives zeros. `prompt_lengths` has `texts`
 * entries, or is NULL. */
M3E_API m3e_status m3e_encode_prompted(m3e_encoder *encoder, const int32_t *ids,
                                       const int64_t *offsets, const int64_t *prompt_lengths,
                                       size_t texts, float *vectors, char *message);

/* Returns nonzero to stop the call. */
typedef int (*m3e_stop)(void *context);

/* m3e_encode_prompted that the caller can stop. It calls `stop` with `context` in the calling
 * thread about ten times a second, and returns M3E_STOPPED soon after `stop` returns nonzero. A
 * call that takes less than a tenth of a second does not call `stop`. `prompt_lengths` and `stop`
 * may be NULL. */
M3E_API m3e_status m3e_encode_stoppable(m3e_encoder *encoder, const int32_t *ids,
                                        const int64_t *offsets, const int64_t *prompt_lengths,
                                        size_t texts, float *vectors, m3e_stop stop, void *context,
                                        char *message);

/* m3e_encode_stoppable that also writes the hidden state of every token, as it is before pooling.
 * `states` has room for offsets[texts] × m3e_hidden_size floats, row by row in the order of `ids`.
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
