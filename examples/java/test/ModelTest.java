import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import m3e.EncodeOptions;
import m3e.M3eException;
import m3e.M3eException.Status;
import m3e.Model;
import m3e.OpenOptions;

/** Tests with the bundle that M3E_BUNDLE names. The first failure ends the program. */
final class ModelTest {
  private static final Path BUNDLE = Path.of(System.getenv("M3E_BUNDLE"));

  private ModelTest() {}

  public static void main(String[] arguments) throws IOException {
    goldenVectors();
    zeroByteAndCharactersBeyondTheBasicPlaneCount();
    optionsAndCutTokens();
    noTexts();
    threadsShareAModel();
    errors();
    System.out.println("6 passed, 0 failed");
  }

  private static void goldenVectors() throws IOException {
    var manifest = (Map<?, ?>) Json.parse(Files.readString(BUNDLE.resolve("manifest.json")));
    var golden = (Map<?, ?>) manifest.get("golden");
    int compared = 0;
    for (Object each : (List<?>) manifest.get("artifacts")) {
      var artifact = (Map<?, ?>) each;
      if (artifact.get("format").equals("native")) {
        compareGoldenVectors(golden, (String) artifact.get("name"), artifact.get("precision"));
        compared++;
      }
    }
    check(compared > 0, "no native artifact");
  }

  private static void compareGoldenVectors(Map<?, ?> golden, String artifact, Object precision) {
    var texts = ((List<?>) golden.get("texts")).stream().map(String.class::cast).toList();
    double least = precision.equals("int8") ? 0.99 : 0.9999;
    var opening = OpenOptions.DEFAULT.withArtifact(artifact).withThreads(2);
    try (var model = Model.open(BUNDLE, opening)) {
      check(model.artifact().equals(artifact), "computes with " + model.artifact());
      var options = EncodeOptions.DEFAULT.withPrompt((String) golden.get("prompt"));
      var found = model.encode(texts, options).vectors();
      var expected = unpack((String) golden.get("vectors"), model.dimension());
      check(found.length == expected.length, found.length + " vectors");
      for (int i = 0; i < found.length; i++) {
        double cosine = cosine(found[i], expected[i]);
        check(cosine >= least, artifact + ", golden text " + i + ": cosine " + cosine);
      }
    }
  }

  private static void zeroByteAndCharactersBeyondTheBasicPlaneCount() {
    try (var model = Model.open(BUNDLE)) {
      var found = model.encode(List.of("morning", "morning\0 train", "morning 😀𠮷")).vectors();
      check(cosine(found[0], found[1]) < 0.999, "the zero byte ends a text");
      check(cosine(found[0], found[2]) < 0.999, "characters beyond the basic plane are lost");
    }
  }

  private static void optionsAndCutTokens() {
    try (var model = Model.open(BUNDLE)) {
      var options = EncodeOptions.DEFAULT.withTruncateDim(32).normalized();
      var found = model.encode(List.of("", "long ".repeat(10000)), options);
      for (float[] vector : found.vectors()) {
        check(vector.length == 32, vector.length + " dimensions");
        check(Math.abs(dot(vector, vector) - 1) < 1e-5, "a vector is not of unit length");
      }
      check(found.cut()[0] == 0 && found.cut()[1] > 5000, Arrays.toString(found.cut()));
    }
  }

  private static void noTexts() {
    try (var model = Model.open(BUNDLE)) {
      check(model.encode(List.of()).vectors().length == 0, "vectors without texts");
    }
  }

  private static void threadsShareAModel() {
    var texts = List.of("one text", "another text");
    try (var model = Model.open(BUNDLE)) {
      var expected = model.encode(texts).vectors();
      boolean same =
          IntStream.range(0, 8)
              .parallel()
              .allMatch(i -> Arrays.deepEquals(expected, model.encode(texts).vectors()));
      check(same, "threads get other vectors");
    }
  }

  private static void errors() {
    expect(Status.FILE, () -> Model.open(BUNDLE.resolve("missing")));
    var model = Model.open(BUNDLE);
    var zeroByte = EncodeOptions.DEFAULT.withPrompt("zero\0byte");
    expect(Status.ARGUMENT, () -> model.encode(List.of("text"), zeroByte));
    var unknown = EncodeOptions.DEFAULT.withPromptName("no such prompt");
    expect(Status.ARGUMENT, () -> model.encode(List.of("text"), unknown));
    model.close();
    model.close();
    try {
      model.dimension();
    } catch (IllegalStateException closed) {
      return;
    }
    check(false, "a closed model answers");
  }

  private static void expect(Status status, Runnable call) {
    try {
      call.run();
    } catch (M3eException error) {
      check(error.status() == status && !error.getMessage().isEmpty(), error.toString());
      return;
    }
    check(false, "no error " + status);
  }

  private static void check(boolean holds, String message) {
    if (!holds) {
      throw new AssertionError(message);
    }
  }

  private static float[][] unpack(String packed, int dimension) {
    var bytes = ByteBuffer.wrap(Base64.getDecoder().decode(packed));
    var floats = bytes.order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer();
    var vectors = new float[floats.remaining() / dimension][dimension];
    for (float[] vector : vectors) {
      floats.get(vector);
    }
    return vectors;
  }

  private static double dot(float[] a, float[] b) {
    return IntStream.range(0, a.length).mapToDouble(i -> (double) a[i] * b[i]).sum();
  }

  private static double cosine(float[] a, float[] b) {
    return dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
  }
}
