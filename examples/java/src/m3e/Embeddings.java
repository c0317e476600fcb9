package m3e;

/**
 * What {@link Model#encode} gives, in the order of the texts.
 *
 * @param vectors one for each text
 * @param cut how many tokens were cut off each text
 */
public record Embeddings(float[][] vectors, long[] cut) {}
