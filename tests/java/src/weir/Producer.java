package weir;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicBoolean;
import software.amazon.awssdk.core.SdkBytes;
import software.amazon.awssdk.core.exception.SdkException;
import software.amazon.awssdk.services.kinesis.KinesisClient;
import software.amazon.awssdk.services.kinesis.model.PutRecordsRequestEntry;

/** Threads that put numbered records, each key's next one only when its last is acknowledged. */
final class Producer {
    private static final int THREADS = 4;
    private static final int KEYS = 25;
    /** 4 threads of 25 records each 100 ms: about 1,000 records/s, no shard near its quota. */
    private static final long PAUSE_MS = 100;

    private final AtomicBoolean stop = new AtomicBoolean();
    private final List<Thread> threads = new ArrayList<>();
    private final Ledger ledger;
    private final String stream;

    Producer(KinesisClient kinesis, String stream, String name, Ledger ledger) {
        this.ledger = ledger;
        this.stream = stream;
        for (int i = 0; i < THREADS; i++) {
            var prefix = name + "-" + i + "-";
            var thread = new Thread(() -> run(kinesis, prefix), "producer-" + i);
            thread.setDaemon(true);
            thread.start();
            threads.add(thread);
        }
    }

    void stop() throws InterruptedException {
        stop.set(true);
        for (var thread : threads) {
            thread.join();
        }
    }

    private void run(KinesisClient kinesis, String prefix) {
        try {
            for (int number = 0; !stop.get(); number++) {
                var open = new ArrayList<PutRecordsRequestEntry>();
                for (int i = 0; i < KEYS; i++) {
                    var key = prefix + i;
                    var data = SdkBytes.fromUtf8String(key + " " + number);
                    open.add(PutRecordsRequestEntry.builder().partitionKey(key).data(data).build());
                }
                while (!open.isEmpty()) {
                    putOnce(kinesis, open, number);
                    Thread.sleep(PAUSE_MS);
                }
            }
        } catch (InterruptedException | RuntimeException error) {
            ledger.wrong("a producer ended: " + error);
        }
    }

    /** Leaves in {@code open} what is to be put again. */
    private void putOnce(KinesisClient kinesis, List<PutRecordsRequestEntry> open, int number) {
        try {
            var answer = kinesis.putRecords(b -> b.streamName(stream).records(open));
            for (int i = open.size() - 1; i >= 0; i--) {
                var record = answer.records().get(i);
                if (record.errorCode() == null) {
                    ledger.acknowledge(open.get(i).partitionKey(), number);
                    open.remove(i);
                }
            }
        } catch (SdkException error) {
            // The server is away: nobody knows what of this is stored, so all of it is put again.
            ledger.note("put failed: " + error.getMessage());
        }
    }
}
