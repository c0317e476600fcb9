/* SPDX-License-Identifier: Apache-2.0 */
/* Encodes two texts given as token ids, and prints their cosine similarity.
 *
 *     cc encode.c -I include -L lib -lm3e -lm -o encode && ./encode model_int8.safetensors
 */
#include <m3e.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static double cosine(const float *a, const float *b, int n) {
  double ab = 0, aa = 0, bb = 0;
  for (int i = 0; i < n; ++i) {
    ab += (double)a[i] * b[i];
    aa += (double)a[i] * a[i];
    bb += (double)b[i] * b[i];
  }
  return ab / sqrt(aa * bb);
}

int main(int argc, char **argv) {
  if (argc != 2) {
    fprintf(stderr, "usage: %s WEIGHTS.safetensors\n", argv[0]);
    return 2;
  }
  char message[M3E_MESSAGE_SIZE];
  m3e_options options = M3E_OPTIONS;
  options.threads = 2;
  m3e_encoder *encoder;
  if (m3e_load(argv[1], &options, &encoder, message) != M3E_OK) {
    fprintf(stderr, "%s\n", message);
    return 4;
  }
  /* A tokenizer gives these; any that reads the bundle's tokenizer.json will do. */
  const int32_t ids[] = {2, 5, 6, 7, 3, 2, 5, 6, 8, 9, 3};
  const int64_t offsets[] = {0, 5, 11};
  const int dimension = m3e_dimension(encoder);
  float *vectors = malloc(2 * (size_t)dimension * sizeof(float));
  int failed = vectors == NULL;
  if (!failed && m3e_encode(encoder, ids, offsets, 2, vectors, message) != M3E_OK) {
    fprintf(stderr, "%s\n", message);
    failed = 1;
  }
  if (!failed) {
    printf("%s: %d dimensions, cosine %.6f\n", m3e_instruction_set(encoder), dimension,
           cosine(vectors, vectors + dimension, dimension));
  }
  free(vectors);
  m3e_free(encoder);
  return failed;
}
