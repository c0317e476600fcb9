import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** A reader of JSON that is enough for a manifest, so that the tests need no other package. */
final class Json {
  private final String text;
  private int at;

  private Json(String text) {
    this.text = text;
  }

  /** Objects as maps, arrays as lists, strings; anything else as the characters that are there. */
  static Object parse(String text) {
    return new Json(text).value();
  }

  private Object value() {
    return switch (peek()) {
      case '{' -> object();
      case '[' -> array();
      case '"' -> string();
      default -> word();
    };
  }

  private Map<String, Object> object() {
    var members = new HashMap<String, Object>();
    for (at++; peek() != '}'; skipComma()) {
      var key = string();
      peek();
      at++; // the colon
      members.put(key, value());
    }
    at++;
    return members;
  }

  private List<Object> array() {
    var items = new ArrayList<Object>();
    for (at++; peek() != ']'; skipComma()) {
      items.add(value());
    }
    at++;
    return items;
  }

  private void skipComma() {
    if (peek() == ',') {
      at++;
    }
  }

  private String string() {
    var read = new StringBuilder();
    for (at++; text.charAt(at) != '"'; at++) {
      read.append(text.charAt(at) == '\\' ? escape() : text.charAt(at));
    }
    at++;
    return read.toString();
  }

  private char escape() {
    char letter = text.charAt(++at);
    if (letter == 'u') {
      at += 4;
      return (char) Integer.parseInt(text.substring(at - 3, at + 1), 16);
    }
    int place = "btnfr".indexOf(letter);
    return place < 0 ? letter : "\b\t\n\f\r".charAt(place);
  }

  private String word() {
    int start = at;
    while (at < text.length() && ",]} \n".indexOf(text.charAt(at)) < 0) {
      at++;
    }
    return text.substring(start, at);
  }

  /** The next character that is not white space. */
  private char peek() {
    while (Character.isWhitespace(text.charAt(at))) {
      at++;
    }
    return text.charAt(at);
  }
}
