package m3e;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.locks.ReentrantReadWriteLock;
import java.util.function.Function;

/** An open bundle. Several threads may use it at once. */
public final class Model implements AutoCloseable {
  private static final int MESSAGE_SIZE = 512;

  // Its read lock is held while the library uses the handle.
  private final ReentrantReadWriteLock lock = new ReentrantReadWriteLock();
  private MemorySegment handle;

  private Model(MemorySegment handle) {
    this.handle = handle;
  }

  /** Open the bundle in the folder {@code path}. */
  public static Model open(Path path) {
    return open(path, OpenOptions.DEFAULT);
  }

  /** Open the bundle in the folder {@code path}. */
  public static Model open(Path path, OpenOptions options) {
    try (Arena arena = Arena.ofConfined()) {
      var folder = Structs.text(path.toString(), arena);
      var result = arena.allocate(ADDRESS);
      var message = arena.allocate(MESSAGE_SIZE);
      check(Library.open(folder, Structs.of(options, arena), result, message), message);
      return new Model(result.get(ADDRESS, 0));
    }
  }

  /** Turn texts into vectors. */
  public Embeddings encode(List<String> texts) {
    return encode(texts, EncodeOptions.DEFAULT);
  }

  /** Turn texts into vectors. */
  public Embeddings encode(List<String> texts, EncodeOptions options) {
    return whileOpen(model -> encode(model, texts, options));
  }

  private static Embeddings encode(
      MemorySegment model, List<String> texts, EncodeOptions options) {
    try (Arena arena = Arena.ofConfined()) {
      var embedding = Structs.of(options, arena);
      var size = Library.vectorSize(model, embedding);
      var vectors = arena.allocate(texts.size() * size, JAVA_FLOAT.byteAlignment());
      var cut = arena.allocate(JAVA_LONG, texts.size());
      var message = arena.allocate(MESSAGE_SIZE);
      check(
          Library.embed(model, Texts.of(texts, arena), embedding, vectors, cut, message), message);
      return new Embeddings(rows(vectors, texts.size(), size), cut.toArray(JAVA_LONG));
    }
  }

  /** Length of a vector if {@link EncodeOptions#truncateDim} does not shorten it. */
  public int dimension() {
    return whileOpen(Library::dimension);
  }

  /** Name of the artifact that computes. */
  public String artifact() {
    return whileOpen(Library::artifact);
  }

  /** Free the model after the calls that still use it. It may be called more than once. */
  @Override
  public void close() {
    lock.writeLock().lock();
    try {
      Library.close(handle);
      handle = MemorySegment.NULL;
    } finally {
      lock.writeLock().unlock();
    }
  }

  private <T> T whileOpen(Function<MemorySegment, T> call) {
    lock.readLock().lock();
    try {
      if (handle.equals(MemorySegment.NULL)) {
        throw new IllegalStateException("the model is closed");
      }
      return call.apply(handle);
    } finally {
      lock.readLock().unlock();
    }
  }

  private static float[][] rows(MemorySegment vectors, int count, long size) {
    var rows = new float[count][];
    for (int i = 0; i < count; i++) {
      rows[i] = vectors.asSlice(i * size, size).toArray(JAVA_FLOAT);
    }
    return rows;
  }

  private static void check(int status, MemorySegment message) {
    if (status != 0) {
      throw new M3eException(M3eException.Status.of(status), message.getString(0));
    }
  }
}
