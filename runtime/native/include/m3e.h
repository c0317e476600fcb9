/* SPDX-License-Identifier: Apache-2.0 */
/* m3e: sentence vectors on a CPU, from C.
 *
 * Open a bundle, the folder that m3e-export writes, and turn texts into vectors:
 *
 *     m3e_model *model;
 *     char message[M3E_MESSAGE_SIZE];
 *     if (m3e_open("m3e-small-int8", NULL, &model, message) != M3E_OK) { ... }
 *     float *vectors = malloc(count * m3e_vector_size(model, NULL));
 *     if (m3e_embed(model, texts, lengths, count, NULL, vectors, NULL, message) != M3E_OK) { ... }
 *     m3e_close(model);
 *
 * The two halves can be used alone: m3e_tokenizer turns texts into token ids, m3e_encoder turns
 * token ids into vectors.
 *
 * Several threads may use one object at once. A text gives the same bytes alone, in any batch, with
 * any number of threads, and on every x86 processor with AVX2. No function throws, exits or prints.
 * After fork() the child can use its parent's objects.
 *
 * The file of weights stays mapped until m3e_close or m3e_free. Do not write to it while it is
 * mapped: if the file becomes shorter, the system ends the process with SIGBUS, and no library can
 * prevent that. To replace the weights, write a new file and rename it, or delete the old file
 * first. Both leave the mapped file intact.
 */
#ifndef M3E_H
#define M3E_H

#include <stddef.h>
#include <stdint.h>

/* On Windows, define M3E_STATIC before including this file to link the static library. */
#if defined(_WIN32) && defined(M3E_BUILDING)
#define M3E_API __declspec(dllexport)
#elif defined(_WIN32) && !defined(M3E_STATIC)
#define M3E_API __declspec(dllimport)
#elif defined(__GNUC__) && !defined(_WIN32)
#define M3E_API __attribute__((visibility("default")))
#else
#define M3E_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Incremented when a declaration below changes. New functions do not change it. */
#define M3E_ABI_VERSION 2

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
  M3E_STOPPED = 6, /* The caller's m3e_stop returned nonzero. */
  /* The file asks for something that this library does not implement. The message names it. */
  M3E_ERROR_UNSUPPORTED = 7,
  M3E_ERROR_INTEGRITY = 8 /* A file of the bundle differs from the manifest. */
} m3e_status;

/* How to load. Start from M3E_OPTIONS. Later versions add fields at the end; `size` tells which
 * fields the caller knows. */
typedef struct m3e_options {
  size_t size;                 /* sizeof(m3e_options) */
  int32_t threads;             /* Most threads that one call uses; 0 means 1. */
  const char *instruction_set; /* A name from m3e_instruction_sets; NULL means the fastest. */
  const char *artifact;        /* m3e_open: an artifact's name; NULL means the fastest. */
  int32_t skip_verification;   /* m3e_open: nonzero does not compare SHA-256 sums. */
  int32_t reserved;            /* 0; without it, a later member would lie in padding. */
} m3e_options;

#define M3E_OPTIONS {sizeof(m3e_options), 0, NULL, NULL, 0, 0}

M3E_API uint32_t m3e_abi_version(void);

/* Names of the instruction sets that this processor supports, fastest first, separated by spaces.
 */
M3E_API const char *m3e_instruction_sets(void);

/* `path` is in UTF-8. `options` may be NULL. `message` has room for M3E_MESSAGE_SIZE bytes,
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

/* An m3e_stop for languages that cannot pass functions: `flag` points to an int32_t. Another thread
 * sets it to a nonzero value to stop the call. */
M3E_API int m3e_stop_if_set(void *flag);

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

/* Texts as token ids. Start from M3E_INPUTS. Later versions add members at the end. */
typedef struct m3e_inputs {
  size_t size;                   /* sizeof(m3e_inputs) */
  const int32_t *ids;            /* See m3e_encode for these three. */
  const int64_t *offsets;        /* texts + 1 entries */
  size_t texts;                  /* how many texts there are */
  const int64_t *prompt_lengths; /* See m3e_encode_prompted; may be NULL. */
  /* The type of each token, parallel to `ids`, from 0 to m3e_token_types - 1; in BERT's models the
   * second text of a pair has type 1. NULL means that every token has type 0. */
  const int32_t *token_types;
  /* Number of tokens at the start of each text that its tokens attend to, at least 1; the others
   * only attend, as the tokens with which ColBERT expands queries. NULL means all. An empty text
   * has 0. */
  const int64_t *attended_lengths;
} m3e_inputs;

#define M3E_INPUTS {sizeof(m3e_inputs), NULL, NULL, 0, NULL, NULL, NULL}

/* The function that the others of this kind call: m3e_encode_tokens with token types. `states` and
 * `stop` may be NULL. */
M3E_API m3e_status m3e_run(m3e_encoder *encoder, const m3e_inputs *inputs, float *vectors,
                           float *states, m3e_stop stop, void *context, char *message);

/* What m3e_run_outputs writes. Start from M3E_OUTPUTS. A member that is NULL is not computed. */
typedef struct m3e_outputs {
  size_t size;          /* sizeof(m3e_outputs) */
  float *vectors;       /* texts x m3e_dimension; never NULL */
  float *states;        /* tokens x m3e_hidden_size, as in m3e_run */
  float *token_weights; /* tokens: the weight of each, at least 0; see m3e_has_token_weights */
  float *token_vectors; /* tokens x m3e_token_vector_size */
  float *term_weights;  /* texts x m3e_vocabulary_size: the weight of each term of the vocabulary in
                           each text, at least 0 and mostly 0; see m3e_has_term_weights */
} m3e_outputs;

#define M3E_OUTPUTS {sizeof(m3e_outputs), NULL, NULL, NULL, NULL, NULL}

/* m3e_run for models that give more than one vector of a text, such as bge-m3: all outputs from one
 * pass. The outputs of tokens are in the order of `ids`; special tokens have some, too.
 * M3E_ERROR_ARGUMENT: the model does not give an output. */
M3E_API m3e_status m3e_run_outputs(m3e_encoder *encoder, const m3e_inputs *inputs,
                                   const m3e_outputs *outputs, m3e_stop stop, void *context,
                                   char *message);

/* Nonzero if the model gives weights of tokens. */
M3E_API int32_t m3e_has_token_weights(const m3e_encoder *encoder);
/* Nonzero if the model gives weights of terms: a sparse vector over the vocabulary, as SPLADE. */
M3E_API int32_t m3e_has_term_weights(const m3e_encoder *encoder);
/* Size of the vectors of tokens; 0 if the model does not give any. */
M3E_API int32_t m3e_token_vector_size(const m3e_encoder *encoder);

M3E_API int32_t m3e_dimension(const m3e_encoder *encoder);
M3E_API int32_t m3e_hidden_size(const m3e_encoder *encoder); /* of a token's hidden state */
M3E_API int32_t m3e_max_tokens(const m3e_encoder *encoder);  /* of one text */
M3E_API int32_t m3e_vocabulary_size(const m3e_encoder *encoder);
M3E_API int32_t m3e_token_types(const m3e_encoder *encoder); /* 1 if tokens have no types */
M3E_API int32_t m3e_threads(const m3e_encoder *encoder);
M3E_API const char *m3e_instruction_set(const m3e_encoder *encoder);
/* The arithmetic of the products: "float32"; "bfloat16 products, float32 sums", as the file of
 * weights asks for; or "int8 products, int32 sums", with which some may be float32. The instruction
 * set neon_bf16 adds "rounded to odd" to the second: it gives other bytes than all others. */
M3E_API const char *m3e_arithmetic(const m3e_encoder *encoder);

/* Unmaps the weights and frees all memory. No call with `encoder` may run. NULL is allowed. */
M3E_API void m3e_free(m3e_encoder *encoder);

/* --- Tokenizers: texts to token ids ------------------------------------------------------- */

typedef struct m3e_tokenizer m3e_tokenizer;

/* Token ids of several texts, filled by m3e_tokenize. Text i has ids[offsets[i]] …
 * ids[offsets[i + 1] - 1]; cut[i] tokens of it were cut off. Free with m3e_tokens_free. */
typedef struct m3e_tokens {
  size_t texts;
  int32_t *ids;
  int64_t *offsets; /* texts + 1 entries */
  int64_t *cut;     /* texts entries */
} m3e_tokens;

/* Load a tokenizer.json. Its own truncation and padding are ignored. M3E_ERROR_UNSUPPORTED names a
 * component that this library does not have. */
M3E_API m3e_status m3e_tokenizer_load(const char *path, const m3e_options *options,
                                      m3e_tokenizer **tokenizer, char *message);

/* m3e_tokenizer_load from memory, which can be freed afterwards. */
M3E_API m3e_status m3e_tokenizer_parse(const char *json, size_t bytes, const m3e_options *options,
                                       m3e_tokenizer **tokenizer, char *message);

/* Tokenize `count` texts in UTF-8. Text i has lengths[i] bytes and may hold zero bytes. A text gets
 * its special tokens and at most `most` tokens, counting them; 0 means no limit. On failure
 * *tokens is empty, and freeing it is allowed. */
M3E_API m3e_status m3e_tokenize(const m3e_tokenizer *tokenizer, const char *const *texts,
                                const size_t *lengths, size_t count, int32_t most,
                                m3e_tokens *tokens, char *message);

/* m3e_tokenize that does not count: cut[i] is 1 if tokens of text i were cut off, and 0 if not. The
 * end of a long text is not tokenized. */
M3E_API m3e_status m3e_tokenize_marked(const m3e_tokenizer *tokenizer, const char *const *texts,
                                       const size_t *lengths, size_t count, int32_t most,
                                       m3e_tokens *tokens, char *message);

/* m3e_tokenize for one text, without allocating: `ids` has room for `most` ids, at least one.
 * Writes how many it wrote to *count, and how many tokens were cut off to *cut if that is not NULL
 * (which takes longer, as the whole text is read). */
M3E_API m3e_status m3e_tokenize_one(const m3e_tokenizer *tokenizer, const char *text, size_t length,
                                    int32_t most, int32_t *ids, int32_t *count, int64_t *cut,
                                    char *message);

/* Token ids of pairs of texts, filled by m3e_tokenize_pairs. Pair i has ids[offsets[i]] …
 * ids[offsets[i + 1] - 1]; cut[i] tokens of its texts were cut off. Free with m3e_pairs_free. */
typedef struct m3e_pairs {
  size_t texts; /* pairs */
  int32_t *ids;
  int64_t *offsets; /* texts + 1 entries */
  int64_t *cut;     /* texts entries */
  int32_t *types;   /* of the tokens, parallel to `ids`; see m3e_inputs */
} m3e_pairs;

/* Tokenize `count` pairs of a first and a second text; see m3e_tokenize. Of a pair that is too
 * long, the longer text is shortened at its end down to the length of the shorter one, and then
 * both, as "longest_first" of the package tokenizers does. M3E_ERROR_UNSUPPORTED if the tokenizer
 * puts pairs together in a way that this library does not have. Equal first texts that follow each
 * other are tokenized once. */
M3E_API m3e_status m3e_tokenize_pairs(const m3e_tokenizer *tokenizer, const char *const *firsts,
                                      const size_t *first_lengths, const char *const *seconds,
                                      const size_t *second_lengths, size_t count, int32_t most,
                                      m3e_pairs *pairs, char *message);

/* m3e_tokenize_pairs that does not count; see m3e_tokenize_marked. */
M3E_API m3e_status m3e_tokenize_pairs_marked(const m3e_tokenizer *tokenizer,
                                             const char *const *firsts, const size_t *first_lengths,
                                             const char *const *seconds,
                                             const size_t *second_lengths, size_t count,
                                             int32_t most, m3e_pairs *pairs, char *message);

M3E_API void m3e_tokens_free(m3e_tokens *tokens);                   /* NULL is allowed. */
M3E_API void m3e_pairs_free(m3e_pairs *pairs);                      /* NULL is allowed. */
M3E_API void m3e_tokenizer_free(m3e_tokenizer *tokenizer);          /* NULL is allowed. */
M3E_API int32_t m3e_special_tokens(const m3e_tokenizer *tokenizer); /* that one text gets */
/* That a pair gets; -1 if m3e_tokenize_pairs cannot make pairs. */
M3E_API int32_t m3e_pair_special_tokens(const m3e_tokenizer *tokenizer);
M3E_API int32_t m3e_tokenizer_vocabulary_size(const m3e_tokenizer *tokenizer); /* largest id + 1 */

/* --- Models: texts to vectors ------------------------------------------------------------- */

typedef struct m3e_model m3e_model;

/* How m3e_embed stores a vector. Each output equals what the Python package gives for the same
 * artifact, bit for bit. */
typedef enum m3e_output {
  M3E_FLOAT32 = 0,
  M3E_FLOAT16 = 1, /* IEEE 754 halves, ties to even */
  M3E_INT8 = 2,    /* M3E_UINT8 minus 128 */
  M3E_UINT8 = 3,   /* one of 256 steps between minimum and maximum; needs `ranges` */
  M3E_BINARY = 4,  /* M3E_UBINARY minus 128 */
  M3E_UBINARY = 5  /* a bit for each dimension, set if the value is positive; eight to a byte, the
                    * first in the highest bit */
} m3e_output;

/* What m3e_embed does around the engine, in the order of the members. Start from M3E_EMBEDDING. */
typedef struct m3e_embedding {
  size_t size;             /* sizeof(m3e_embedding) */
  const char *prompt_name; /* A prompt of the bundle; NULL means its default. */
  const char *prompt;      /* UTF-8, before each text; takes precedence over prompt_name. */
  int32_t truncate_dim;    /* Leading dimensions to keep; 0 means the bundle's default. */
  int32_t normalize;       /* Nonzero scales each vector to unit length. */
  m3e_output output;
  /* float32 [2, dimensions that are kept]: the minimum of each dimension over many texts like
   * these, then the maximum of each. For M3E_INT8 and M3E_UINT8. */
  const float *ranges;
  m3e_stop stop; /* See m3e_encode_stoppable. */
  void *context;
} m3e_embedding;

#define M3E_EMBEDDING {sizeof(m3e_embedding), NULL, NULL, 0, 0, M3E_FLOAT32, NULL, NULL, NULL}

/* Open the bundle in folder `path`, in UTF-8. Reads manifest.json, chooses the native artifact that
 * is fastest on a CPU (int8, then fp32, then fp16) or options->artifact, compares the SHA-256 sums
 * of the files that it uses, and loads tokenizer and weights. `options` may be NULL. *model is NULL
 * on failure:
 *   M3E_ERROR_FILE         there is no such folder, or no manifest.json in it
 *   M3E_ERROR_FORMAT       the manifest, the tokenizer or the weights are not valid
 *   M3E_ERROR_INTEGRITY    a file is missing or differs from the manifest, or the manifest names a
 *                          file outside the folder
 *   M3E_ERROR_UNSUPPORTED  no artifact is native, or the tokenizer has an unknown component
 *   M3E_ERROR_ARGUMENT     there is no such artifact, or an option is out of range */
M3E_API m3e_status m3e_open(const char *path, const m3e_options *options, m3e_model **model,
                            char *message);

/* Frees the model and its halves. No call with `model` may run. NULL is allowed. */
M3E_API void m3e_close(m3e_model *model);

/* Bytes of one vector as `embedding` asks for it; NULL means M3E_EMBEDDING. 0 if truncate_dim or
 * output is out of range, or if the bundle gives scores. */
M3E_API size_t m3e_vector_size(const m3e_model *model, const m3e_embedding *embedding);

/* Encode `count` texts; see m3e_tokenize for `texts` and `lengths`. Longer texts than the model
 * takes are cut at the right. Writes `count` vectors of m3e_vector_size bytes each, one behind the
 * other; for M3E_FLOAT32, `vectors` is aligned for floats. `cut` is NULL, or gets the number of
 * tokens that were cut off each text. The memory that a call needs does not grow with `count`. On
 * failure the content of `vectors` and `cut` is undefined. */
M3E_API m3e_status m3e_embed(m3e_model *model, const char *const *texts, const size_t *lengths,
                             size_t count, const m3e_embedding *embedding, void *vectors,
                             int64_t *cut, char *message);

/* What a bundle's scores are: its logits, or the sigmoids of them. */
typedef enum m3e_activation {
  M3E_ACTIVATION_DEFAULT = 0, /* what the bundle says */
  M3E_IDENTITY = 1,
  M3E_SIGMOID = 2
} m3e_activation;

/* What m3e_score does around the engine. Start from M3E_SCORING. */
typedef struct m3e_scoring {
  size_t size;             /* sizeof(m3e_scoring) */
  const char *prompt_name; /* A prompt of the bundle; NULL means its default. */
  const char *prompt;      /* UTF-8, before each query; takes precedence over prompt_name. */
  m3e_activation activation;
  int32_t softmax; /* Nonzero makes the scores of several labels sum to 1, after the activation. */
  m3e_stop stop;   /* See m3e_encode_stoppable. */
  void *context;
} m3e_scoring;

#define M3E_SCORING {sizeof(m3e_scoring), NULL, NULL, M3E_ACTIVATION_DEFAULT, 0, NULL, NULL}

/* Score `count` pairs of a query and a passage with the bundle of a reranker or classifier; see
 * m3e_tokenize_pairs for the texts, and m3e_embed for `cut` and memory. `passages` may be NULL:
 * then single texts are scored. Writes count × m3e_model_labels floats, row by row; NULL for
 * `scoring` means M3E_SCORING. Pass all passages of one query behind each other: then the query
 * is tokenized once. A pair gives the same bytes in any batch. */
M3E_API m3e_status m3e_score(m3e_model *model, const char *const *queries,
                             const size_t *query_lengths, const char *const *passages,
                             const size_t *passage_lengths, size_t count,
                             const m3e_scoring *scoring, float *scores, int64_t *cut,
                             char *message);

/* Number of labels, for which m3e_score gives a score each; 0 if the bundle gives vectors, with
 * m3e_embed. */
M3E_API int32_t m3e_model_labels(const m3e_model *model);
M3E_API const char *m3e_model_label(const m3e_model *model,
                                    int32_t label); /* NULL if out of range */

/* The halves of a model, which m3e_close frees. */
M3E_API m3e_encoder *m3e_model_encoder(const m3e_model *model);
M3E_API const m3e_tokenizer *m3e_model_tokenizer(const m3e_model *model);

/* Default length of a vector; the number of labels if the bundle gives scores. */
M3E_API int32_t m3e_model_dimension(const m3e_model *model);
/* Most tokens of a text, with its special tokens, as the manifest says. */
M3E_API int32_t m3e_model_max_tokens(const m3e_model *model);
/* Name of the artifact. */
M3E_API const char *m3e_model_artifact(const m3e_model *model);

/* Encode the bundle's golden texts and compare the vectors with its golden vectors. Writes the
 * least cosine or, of a bundle that gives scores, the largest difference of a logit, unless `found`
 * is NULL. M3E_ERROR_INTEGRITY if that is worse than what the export measured, with an allowance
 * for the rounding of other processors. */
M3E_API m3e_status m3e_model_check(m3e_model *model, float *found, char *message);

/* Similarity of each of `a_count` float32 vectors with each of `b_count`, by the bundle's function:
 * cosine, dot product, or negated euclidean or manhattan distance. Writes a_count × b_count floats,
 * row by row. */
M3E_API m3e_status m3e_similarity(const m3e_model *model, const float *a, size_t a_count,
                                  const float *b, size_t b_count, int32_t dimension, float *scores,
                                  char *message);

/* --- Bundles without loading a model ------------------------------------------------------ */

/* Describe the bundle in folder `path` as a JSON object that ends with a zero byte: its source,
 * sizes, prompts and artifacts. Reads manifest.json only. Free it with m3e_string_free. Later
 * versions add members. */
M3E_API m3e_status m3e_bundle_info(const char *path, char **json, char *message);
M3E_API void m3e_string_free(char *string); /* NULL is allowed. */

/* Compare the files of the bundle in folder `path` with their sizes and SHA-256 sums in its
 * manifest: all of them if `artifact` is NULL, else those of one artifact and those that belong to
 * none. M3E_ERROR_INTEGRITY names the first that differs. */
M3E_API m3e_status m3e_bundle_verify(const char *path, const char *artifact, char *message);

#ifdef __cplusplus
}
#endif

#endif
