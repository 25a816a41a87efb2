import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.util.Properties;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Sends what comes in by standard input as messages, to the partitions of a topic in turn: BROKERS TOPIC PARTITIONS.
 *
 * <p>A message ends with a byte 0, so that it may have many lines, which Kafka's console producer cannot do.
 */
public final class Produce {
    private static final int CHUNK = 1 << 20;

    public static void main(String[] arguments) throws IOException {
        Properties options = new Properties();
        options.put("bootstrap.servers", arguments[0]);
        options.put("acks", "1");
        options.put("linger.ms", "20");
        options.put("batch.size", "131072");
        options.put("buffer.memory", "67108864");
        int partitions = Integer.parseInt(arguments[2]);
        int[] sent = new int[1];
        Exception[] failure = new Exception[1];
        try (KafkaProducer<byte[], byte[]> producer =
                new KafkaProducer<>(options, new ByteArraySerializer(), new ByteArraySerializer())) {
            InputStream input = System.in;
            ByteArrayOutputStream message = new ByteArrayOutputStream();
            byte[] chunk = new byte[CHUNK];
            for (int read = input.read(chunk); read >= 0; read = input.read(chunk)) {
                int begin = 0;
                for (int at = 0; at < read; at++) {
                    if (chunk[at] == 0) {
                        message.write(chunk, begin, at - begin);
                        int partition = sent[0]++ % partitions;
                        producer.send(
                                new ProducerRecord<>(arguments[1], partition, null, message.toByteArray()),
                                (where, problem) -> {
                                    if (problem != null) {
                                        failure[0] = problem;
                                    }
                                });
                        message.reset();
                        begin = at + 1;
                    }
                }
                message.write(chunk, begin, read - begin);
            }
        }
        if (failure[0] != null) {
            throw new IOException("not all messages were taken", failure[0]);
        }
    }
}
