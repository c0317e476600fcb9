package m3e;

/**
 * How to encode.
 *
 * @param promptName a prompt of the bundle; null means its default
 * @param prompt text before each text, which takes precedence over promptName; null means none
 * @param truncateDim leading dimensions to keep; 0 means the default of the bundle
 * @param normalize scale each vector to unit length
 */
public record EncodeOptions(String promptName, String prompt, int truncateDim, boolean normalize) {
  /** The defaults of the bundle. */
  public static final EncodeOptions DEFAULT = new EncodeOptions(null, null, 0, false);

  /** The same with a prompt of the bundle. */
  public EncodeOptions withPromptName(String promptName) {
    return new EncodeOptions(promptName, prompt, truncateDim, normalize);
  }

  /** The same with text before each text. */
  public EncodeOptions withPrompt(String prompt) {
    return new EncodeOptions(promptName, prompt, truncateDim, normalize);
  }

  /** The same with shorter vectors. */
  public EncodeOptions withTruncateDim(int truncateDim) {
    return new EncodeOptions(promptName, prompt, truncateDim, normalize);
  }

  /** The same with vectors of unit length. */
  public EncodeOptions normalized() {
    return new EncodeOptions(promptName, prompt, truncateDim, true);
  }
}
