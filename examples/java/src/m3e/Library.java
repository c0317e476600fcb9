package m3e;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.StructLayout;
import java.lang.foreign.SymbolLookup;
import java.lang.invoke.MethodHandle;
import java.nio.file.Path;

/** The functions of m3e.h that {@link Model} uses, on a processor of 64 bits. */
@SuppressWarnings("restricted")
final class Library {
  private static final int ABI_VERSION = 2;
  private static final SymbolLookup SYMBOLS = SymbolLookup.libraryLookup(path(), Arena.global());

  static final StructLayout OPTIONS =
      MemoryLayout.structLayout(
          JAVA_LONG.withName("size"),
          JAVA_INT.withName("threads"),
          MemoryLayout.paddingLayout(4),
          ADDRESS.withName("instruction_set"),
          ADDRESS.withName("artifact"),
          JAVA_INT.withName("skip_verification"),
          JAVA_INT.withName("reserved"));
  static final StructLayout EMBEDDING =
      MemoryLayout.structLayout(
          JAVA_LONG.withName("size"),
          ADDRESS.withName("prompt_name"),
          ADDRESS.withName("prompt"),
          JAVA_INT.withName("truncate_dim"),
          JAVA_INT.withName("normalize"),
          JAVA_INT.withName("output"),
          MemoryLayout.paddingLayout(4),
          ADDRESS.withName("ranges"),
          ADDRESS.withName("stop"),
          ADDRESS.withName("context"));

  private static final MethodHandle OPEN =
      function("m3e_open", FunctionDescriptor.of(JAVA_INT, ADDRESS, ADDRESS, ADDRESS, ADDRESS));
  private static final MethodHandle CLOSE =
      function("m3e_close", FunctionDescriptor.ofVoid(ADDRESS));
  private static final MethodHandle VECTOR_SIZE =
      function("m3e_vector_size", FunctionDescriptor.of(JAVA_LONG, ADDRESS, ADDRESS));
  private static final MethodHandle EMBED =
      function(
          "m3e_embed",
          FunctionDescriptor.of(
              JAVA_INT, ADDRESS, ADDRESS, ADDRESS, JAVA_LONG, ADDRESS, ADDRESS, ADDRESS, ADDRESS));
  private static final MethodHandle DIMENSION =
      function("m3e_model_dimension", FunctionDescriptor.of(JAVA_INT, ADDRESS));
  private static final MethodHandle ARTIFACT =
      function("m3e_model_artifact", FunctionDescriptor.of(ADDRESS, ADDRESS));

  static {
    checkVersion();
  }

  private Library() {}

  static int open(
      MemorySegment path, MemorySegment options, MemorySegment model, MemorySegment message) {
    try {
      return (int) OPEN.invokeExact(path, options, model, message);
    } catch (Throwable thrown) {
      throw new AssertionError(thrown);
    }
  }

  static void close(MemorySegment model) {
    try {
      CLOSE.invokeExact(model);
    } catch (Throwable thrown) {
      throw new AssertionError(thrown);
    }
  }

  static long vectorSize(MemorySegment model, MemorySegment embedding) {
    try {
      return (long) VECTOR_SIZE.invokeExact(model, embedding);
    } catch (Throwable thrown) {
      throw new AssertionError(thrown);
    }
  }

  static int embed(
      MemorySegment model,
      Texts texts,
      MemorySegment embedding,
      MemorySegment vectors,
      MemorySegment cut,
      MemorySegment message) {
    try {
      return (int)
          EMBED.invokeExact(
              model,
              texts.pointers(),
              texts.lengths(),
              texts.count(),
              embedding,
              vectors,
              cut,
              message);
    } catch (Throwable thrown) {
      throw new AssertionError(thrown);
    }
  }

  static int dimension(MemorySegment model) {
    try {
      return (int) DIMENSION.invokeExact(model);
    } catch (Throwable thrown) {
      throw new AssertionError(thrown);
    }
  }

  static String artifact(MemorySegment model) {
    try {
      var name = (MemorySegment) ARTIFACT.invokeExact(model);
      return name.reinterpret(Long.MAX_VALUE).getString(0);
    } catch (Throwable thrown) {
      throw new AssertionError(thrown);
    }
  }

  private static MethodHandle function(String name, FunctionDescriptor type) {
    return Linker.nativeLinker().downcallHandle(SYMBOLS.find(name).orElseThrow(), type);
  }

  private static void checkVersion() {
    int found;
    try {
      found = (int) function("m3e_abi_version", FunctionDescriptor.of(JAVA_INT)).invokeExact();
    } catch (Throwable thrown) {
      throw new AssertionError(thrown);
    }
    if (found != ABI_VERSION) {
      throw new UnsatisfiedLinkError(
          path() + " has ABI " + found + ", and this package needs " + ABI_VERSION);
    }
  }

  /** M3E_LIBRARY names the file, M3E_ROOT its folder's parent. */
  private static Path path() {
    String library = System.getenv("M3E_LIBRARY");
    String root = System.getenv("M3E_ROOT");
    if (library != null) {
      return Path.of(library).toAbsolutePath();
    }
    if (root == null) {
      throw new UnsatisfiedLinkError("neither M3E_LIBRARY nor M3E_ROOT tells where libm3e is");
    }
    String name = System.mapLibraryName("m3e");
    boolean windows = name.endsWith(".dll");
    return Path.of(root, windows ? "bin" : "lib", name).toAbsolutePath();
  }
}
