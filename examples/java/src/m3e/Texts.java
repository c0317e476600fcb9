package m3e;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.charset.StandardCharsets;
import java.util.List;

/** Texts in UTF-8, outside the heap. */
record Texts(MemorySegment pointers, MemorySegment lengths, long count) {
  static Texts of(List<String> texts, Arena arena) {
    var bytes = texts.stream().map(text -> text.getBytes(StandardCharsets.UTF_8)).toList();
    var block = arena.allocate(bytes.stream().mapToLong(each -> each.length).sum());
    var pointers = arena.allocate(ADDRESS, bytes.size());
    var lengths = arena.allocate(JAVA_LONG, bytes.size());
    long offset = 0;
    for (int i = 0; i < bytes.size(); i++) {
      var text = bytes.get(i);
      var target = block.asSlice(offset, text.length);
      target.copyFrom(MemorySegment.ofArray(text));
      pointers.setAtIndex(ADDRESS, i, target);
      lengths.setAtIndex(JAVA_LONG, i, text.length);
      offset += text.length;
    }
    return new Texts(pointers, lengths, bytes.size());
  }
}
