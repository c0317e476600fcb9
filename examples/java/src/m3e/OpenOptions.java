package m3e;

/**
 * How to open a bundle.
 *
 * @param threads most threads that one call uses; 0 means 1
 * @param artifact an artifact of the bundle; null means the fastest on this processor
 * @param verify compare SHA-256 sums
 */
public record OpenOptions(int threads, String artifact, boolean verify) {
  /** What most programs want. */
  public static final OpenOptions DEFAULT = new OpenOptions(0, null, true);

  /** The same with another number of threads. */
  public OpenOptions withThreads(int threads) {
    return new OpenOptions(threads, artifact, verify);
  }

  /** The same with another artifact. */
  public OpenOptions withArtifact(String artifact) {
    return new OpenOptions(threads, artifact, verify);
  }
}
