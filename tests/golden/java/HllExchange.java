import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.Base64;
import org.apache.datasketches.hll.HllSketch;
import org.apache.datasketches.hll.TgtHllType;
import org.apache.datasketches.memory.Memory;

/**
 * Answers one line for each line of standard input, so that a test can compare our images with Java's.
 *
 * <p>"write lgK type n" gives a sketch of the longs 0 to n - 1: its compact and its updatable image.
 * "read image from to" reads an image and gives its estimate, both bounds at two standard deviations,
 * and its compact image after the longs from (included) to (excluded) were added.
 */
public final class HllExchange {
  public static void main(final String[] args) throws Exception {
    final BufferedReader input = new BufferedReader(new InputStreamReader(System.in));
    for (String line = input.readLine(); line != null; line = input.readLine()) {
      final String[] words = line.split(" ");
      System.out.println(words[0].equals("write") ? write(words) : read(words));
    }
  }

  private static String write(final String[] words) {
    final HllSketch sketch = new HllSketch(Integer.parseInt(words[1]), TgtHllType.valueOf(words[2]));
    add(sketch, 0, Long.parseLong(words[3]));
    return encode(sketch.toCompactByteArray()) + " " + encode(sketch.toUpdatableByteArray());
  }

  private static String read(final String[] words) {
    final HllSketch sketch = HllSketch.heapify(Memory.wrap(Base64.getDecoder().decode(words[1])));
    final String answers = sketch.getEstimate() + " " + sketch.getLowerBound(2) + " " + sketch.getUpperBound(2);
    add(sketch, Long.parseLong(words[2]), Long.parseLong(words[3]));
    return answers + " " + encode(sketch.toCompactByteArray());
  }

  private static void add(final HllSketch sketch, final long from, final long to) {
    for (long value = from; value < to; value++) {
      sketch.update(value);
    }
  }

  private static String encode(final byte[] image) {
    return Base64.getEncoder().encodeToString(image);
  }
}
