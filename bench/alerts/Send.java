import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.util.Arrays;
import java.util.Properties;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** Sends what comes in by standard input at once, key, value, key, value, a byte 0 behind each: BROKERS TOPIC PARTITIONS. */
public final class Send {
    private static final int CHUNK = 1 << 16;

    public static void main(String[] arguments) throws IOException {
        Properties options = new Properties();
        options.put("bootstrap.servers", arguments[0]);
        options.put("acks", "1");
        options.put("linger.ms", "5");
        int partitions = Integer.parseInt(arguments[2]);
        Exception[] failure = new Exception[1];
        try (KafkaProducer<byte[], byte[]> producer =
                new KafkaProducer<>(options, new ByteArraySerializer(), new ByteArraySerializer())) {
            InputStream input = System.in;
            ByteArrayOutputStream part = new ByteArrayOutputStream();
            byte[] chunk = new byte[CHUNK];
            byte[] key = null;
            for (int read = input.read(chunk); read >= 0; read = input.read(chunk)) {
                int begin = 0;
                for (int at = 0; at < read; at++) {
                    if (chunk[at] == 0) {
                        part.write(chunk, begin, at - begin);
                        if (key == null) {
                            key = part.toByteArray();
                        } else {
                            int partition = Math.floorMod(Arrays.hashCode(key), partitions);
                            producer.send(
                                    new ProducerRecord<>(arguments[1], partition, key, part.toByteArray()),
                                    (where, problem) -> {
                                        if (problem != null) {
                                            failure[0] = problem;
                                        }
                                    });
                            key = null;
                        }
                        part.reset();
                        begin = at + 1;
                    }
                }
                part.write(chunk, begin, read - begin);
            }
        }
        if (failure[0] != null) {
            throw new IOException("not all messages were taken", failure[0]);
        }
    }
}
