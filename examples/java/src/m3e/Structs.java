package m3e;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.MemoryLayout.PathElement;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.StructLayout;

/** The structures of m3e.h, filled from the options of this package. What is not set is zero. */
final class Structs {
  private Structs() {}

  static MemorySegment of(OpenOptions options, Arena arena) {
    var struct = arena.allocate(Library.OPTIONS);
    set(struct, Library.OPTIONS, "threads", options.threads());
    set(struct, Library.OPTIONS, "artifact", text(options.artifact(), arena));
    set(struct, Library.OPTIONS, "skip_verification", options.verify() ? 0 : 1);
    return sized(struct);
  }

  static MemorySegment of(EncodeOptions options, Arena arena) {
    var struct = arena.allocate(Library.EMBEDDING);
    set(struct, Library.EMBEDDING, "prompt_name", text(options.promptName(), arena));
    set(struct, Library.EMBEDDING, "prompt", text(options.prompt(), arena));
    set(struct, Library.EMBEDDING, "truncate_dim", options.truncateDim());
    set(struct, Library.EMBEDDING, "normalize", options.normalize() ? 1 : 0);
    return sized(struct);
  }

  /** Text that ends with a zero byte, or NULL for null. */
  static MemorySegment text(String text, Arena arena) {
    if (text == null) {
      return MemorySegment.NULL;
    }
    if (text.indexOf(0) >= 0) {
      throw new M3eException(
          M3eException.Status.ARGUMENT, "a path, a name or a prompt contains a zero byte");
    }
    return arena.allocateFrom(text);
  }

  private static MemorySegment sized(MemorySegment struct) {
    struct.set(JAVA_LONG, 0, struct.byteSize());
    return struct;
  }

  private static void set(MemorySegment struct, StructLayout layout, String field, int value) {
    struct.set(JAVA_INT, layout.byteOffset(PathElement.groupElement(field)), value);
  }

  private static void set(
      MemorySegment struct, StructLayout layout, String field, MemorySegment value) {
    struct.set(ADDRESS, layout.byteOffset(PathElement.groupElement(field)), value);
  }
}
