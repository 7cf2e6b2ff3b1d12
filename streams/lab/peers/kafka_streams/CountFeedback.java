import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AdminClientConfig;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.Stores;

/** Kafka Streams, exactly once (v2), one thread: counters in memory with their changelog. */
public final class CountFeedback {
    private static final String STORE = "counters";
    private static final ObjectMapper JSON = new ObjectMapper();

    private final JsonNode task;
    private final long records;
    private final CountDownLatch processed = new CountDownLatch(1);
    private long seen = 0; // by the one stream thread alone
    private long counted = 0; // read once the latch is down

    private CountFeedback(JsonNode task) {
        this.task = task;
        this.records = task.get("records").asLong();
    }

    /** Reads the task from standard input and counts until the last record is committed. */
    public static void main(String[] arguments) throws Exception {
        var input = new BufferedReader(new InputStreamReader(System.in));
        new CountFeedback(JSON.readTree(input.readLine())).run();
    }

    private void run() throws Exception {
        var topology = new Topology();
        topology.addSource(
            "log", Serdes.ByteArray().deserializer(), Serdes.ByteArray().deserializer(), text("topic"));
        topology.addProcessor("count", Count::new, "log");
        topology.addStateStore(
            Stores.keyValueStoreBuilder(
                Stores.inMemoryKeyValueStore(STORE), Serdes.String(), Serdes.Long()),
            "count");
        try (var streams = new KafkaStreams(topology, properties())) {
            streams.setUncaughtExceptionHandler(failure -> {
                failure.printStackTrace();
                Runtime.getRuntime().halt(1);
                return StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
            });
            streams.start();
            processed.await();
            awaitCommit();
            tell("last " + counted);
        }
    }

    private String text(String field) {
        return task.get(field).asText();
    }

    private Properties properties() {
        var properties = new Properties();
        properties.put(StreamsConfig.APPLICATION_ID_CONFIG, text("group"));
        properties.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, text("brokers"));
        properties.put(StreamsConfig.STATE_DIR_CONFIG, text("folder"));
        properties.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
        properties.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, 1);
        properties.put(StreamsConfig.REPLICATION_FACTOR_CONFIG, 1);
        return properties;
    }

    /** Returns when the group's offsets, which a transaction moves with the counters, are at the end. */
    private void awaitCommit() throws Exception {
        Properties where = new Properties();
        where.put(AdminClientConfig.BOOTSTRAP_SERVERS_CONFIG, text("brokers"));
        try (var admin = Admin.create(where)) {
            long committed = 0;
            while (committed < records) {
                var offsets = admin.listConsumerGroupOffsets(text("group"));
                committed = offsets.partitionsToOffsetAndMetadata().get().values().stream()
                    .mapToLong(OffsetAndMetadata::offset).sum();
            }
        }
    }

    private static void tell(String line) {
        System.out.println(line);
        System.out.flush();
    }

    private final class Count implements Processor<byte[], byte[], Void, Void> {
        private KeyValueStore<String, Long> counters;

        @Override
        public void init(ProcessorContext<Void, Void> context) {
            counters = context.getStateStore(STORE);
        }

        @Override
        public void process(Record<byte[], byte[]> record) {
            if (seen == 0) {
                tell("first");
            }
            count(record.value());
            seen += 1;
            if (seen == records) {
                processed.countDown();
            }
        }

        private void count(byte[] value) {
            JsonNode event;
            try {
                event = JSON.readTree(value);
            } catch (java.io.IOException error) {
                throw new java.io.UncheckedIOException(error);
            }
            if (!event.has("slice")) {
                return; // a control record
            }
            var name = event.get("video").asText() + "|" + event.get("slice").asText()
                + "|" + event.get("type").asText();
            Long before = counters.get(name);
            counters.put(name, before == null ? 1 : before + 1);
            counted += 1;
        }
    }
}
