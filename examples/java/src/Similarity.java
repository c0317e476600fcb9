import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import m3e.EncodeOptions;
import m3e.M3eException;
import m3e.Model;

/** Reads texts, one a line, and prints the cosine of the first two. */
final class Similarity {
  private Similarity() {}

  public static void main(String[] arguments) throws IOException {
    if (arguments.length != 1) {
      System.err.println("usage: Similarity BUNDLE <TEXTS");
      System.exit(2);
    }
    var texts = readLines();
    if (texts.size() < 2) {
      System.err.println("needs two lines of text");
      System.exit(1);
    }
    try (var model = Model.open(Path.of(arguments[0]))) {
      var vectors = model.encode(texts, EncodeOptions.DEFAULT.normalized()).vectors();
      System.out.printf(Locale.ROOT, "%.4f%n", dot(vectors[0], vectors[1]));
    } catch (M3eException error) {
      System.err.println(error.getMessage());
      System.exit(1);
    }
  }

  private static List<String> readLines() throws IOException {
    var input = new InputStreamReader(System.in, StandardCharsets.UTF_8);
    try (var reader = new BufferedReader(input)) {
      return reader.lines().toList();
    }
  }

  private static double dot(float[] a, float[] b) {
    double sum = 0;
    for (int i = 0; i < a.length; i++) {
      sum += (double) a[i] * b[i];
    }
    return sum;
  }
}
