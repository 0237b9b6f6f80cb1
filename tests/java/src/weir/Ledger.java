package weir;

import java.io.IOException;
import java.io.PrintWriter;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * What was acknowledged and what was processed. Records of a key are numbered from 0, and the next
 * is sent only when the last is acknowledged; so whatever is delivered twice, the first deliveries
 * of a key must be 0, 1, 2 and so on.
 */
final class Ledger implements AutoCloseable {
    private final Map<String, Integer> acknowledged = new HashMap<>();
    private final Map<String, Integer> processed = new HashMap<>();
    /** Begin and end of shards, in order: "begin SHARD", "end SHARD". */
    private final List<String> shards = new ArrayList<>();

    private final List<String> wrong = new ArrayList<>();
    private final PrintWriter log;
    private final long started = System.nanoTime();
    private long acknowledgedCount;
    private long processedCount;
    private long again;

    Ledger(Path file) {
        try {
            log = new PrintWriter(Files.newBufferedWriter(file));
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }

    synchronized void note(String text) {
        log.printf("%.3f %s%n", (System.nanoTime() - started) / 1e9, text);
    }

    synchronized void acknowledge(String key, int number) {
        acknowledged.put(key, number + 1);
        acknowledgedCount++;
    }

    synchronized void process(String shard, String key, int number, String sequenceNumber) {
        log.println(shard + " " + key + " " + number + " " + sequenceNumber);
        var next = processed.getOrDefault(key, 0);
        if (number == next) {
            processed.put(key, next + 1);
            processedCount++;
        } else if (number < next) {
            again++;
        } else {
            wrong.add(key + " " + number + " came on " + shard + " where " + next + " was due");
        }
    }

    synchronized void begin(String shard) {
        shards.add("begin " + shard);
        note("begin " + shard);
    }

    synchronized void end(String shard) {
        shards.add("end " + shard);
        note("end " + shard);
    }

    /** A note of something that must not happen. */
    synchronized void wrong(String text) {
        wrong.add(text);
        note("WRONG " + text);
    }

    synchronized List<String> wrong() {
        return List.copyOf(wrong);
    }

    synchronized List<String> shards() {
        return List.copyOf(shards);
    }

    synchronized long acknowledged() {
        return acknowledgedCount;
    }

    synchronized long processed() {
        return processedCount;
    }

    synchronized long again() {
        return again;
    }

    /** What was acknowledged and not processed. */
    synchronized List<String> missing() {
        var missing = new ArrayList<String>();
        acknowledged.forEach(
                (key, count) -> {
                    var seen = processed.getOrDefault(key, 0);
                    if (seen < count) {
                        missing.add(key + " from " + seen + " to " + (count - 1));
                    }
                });
        return missing;
    }

    @Override
    public synchronized void close() {
        log.close();
    }
}
