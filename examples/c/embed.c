/* Encodes texts and prints how similar the first one is to each of the others.
 *
 *     make embed && ./embed BUNDLE "How do I change my card?" "Change the linked card" "Fine
 * weather"
 */
#include <m3e.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Prints the scores; returns 0, or 1 with a message. */
static int compare(m3e_model *model, const char *const *texts, size_t count, char *message) {
  const int32_t dimension = m3e_model_dimension(model);
  size_t *lengths = malloc(count * sizeof *lengths);
  float *vectors = malloc(count * m3e_vector_size(model, NULL));
  float *scores = malloc(count * sizeof *scores);
  int failed = 1;
  if (lengths && vectors && scores) {
    for (size_t i = 0; i < count; ++i) lengths[i] = strlen(texts[i]);
    failed = m3e_embed(model, texts, lengths, count, NULL, vectors, NULL, message) != M3E_OK ||
             m3e_similarity(model, vectors, 1, vectors + dimension, count - 1, dimension, scores,
                            message) != M3E_OK;
  } else {
    snprintf(message, M3E_MESSAGE_SIZE, "not enough memory");
  }
  for (size_t i = 1; !failed && i < count; ++i) printf("%.4f  %s\n", scores[i - 1], texts[i]);
  free(lengths);
  free(vectors);
  free(scores);
  return failed;
}

int main(int argc, char **argv) {
  if (argc < 4) {
    fprintf(stderr, "usage: %s BUNDLE TEXT TEXT [TEXT ...]\n", argv[0]);
    return 2;
  }
  char message[M3E_MESSAGE_SIZE];
  m3e_options options = M3E_OPTIONS;
  options.threads = 2;
  m3e_model *model;
  if (m3e_open(argv[1], &options, &model, message) != M3E_OK) {
    fprintf(stderr, "%s\n", message);
    return 1;
  }
  const int failed = compare(model, (const char *const *)argv + 2, (size_t)argc - 2, message);
  if (failed) fprintf(stderr, "%s\n", message);
  m3e_close(model);
  return failed;
}
