package weir;

import static weir.Check.same;
import static weir.Check.that;

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.net.URI;
import java.nio.file.Path;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.stream.Stream;
import software.amazon.awssdk.services.dynamodb.DynamoDbAsyncClient;
import software.amazon.awssdk.services.dynamodb.model.AttributeValue;
import software.amazon.awssdk.services.kinesis.KinesisClient;
import software.amazon.awssdk.services.kinesis.model.Shard;
import software.amazon.awssdk.services.kinesis.model.StreamStatus;

/**
 * A KCL 3 worker over a stream that is split and merged under load, on a server that is killed in
 * between and amid the merge.
 * Arguments: POLLING or FANOUT, the endpoints of Kinesis and of DynamoDB, and a file for the ledger.
 * When it prints "kill", whoever started it kills the server, starts it again at the same address,
 * and writes a line.
 */
public final class KclSession {
    private static final String STREAM = "kcl";
    private static final Duration PATIENCE = Duration.ofMinutes(2);

    private final Ledger ledger;
    private final Worker.Place place;
    private final KinesisClient kinesis;
    private final BufferedReader answers = new BufferedReader(new InputStreamReader(System.in));
    private final long started = System.nanoTime();

    private KclSession(Ledger ledger, Worker.Place place, KinesisClient kinesis) {
        this.ledger = ledger;
        this.place = place;
        this.kinesis = kinesis;
    }

    public static void main(String[] arguments) throws Exception {
        var clients = Clients.of(arguments[1]).withRetries(3);
        var place =
                new Worker.Place(
                        clients.endpoint(),
                        URI.create(arguments[2]),
                        clients.credentials(),
                        STREAM,
                        arguments[0]);
        var held = false;
        try (var ledger = new Ledger(Path.of(arguments[3]));
                var kinesis = clients.sync()) {
            try {
                new KclSession(ledger, place, kinesis).run();
                held = true;
            } finally {
                ledger.note("missing: " + ledger.missing());
                ledger.note("wrong: " + ledger.wrong());
            }
        } catch (Throwable failure) {
            failure.printStackTrace();
        }
        // KCL leaves threads behind.
        System.exit(held ? 0 : 1);
    }

    private void run() throws Exception {
        kinesis.createStream(b -> b.streamName(STREAM).shardCount(2));
        active();
        var producer = new Producer(kinesis, STREAM, "a", ledger);
        try (var worker = new Worker(place, "worker-1", ledger)) {
            processed("the first records", 1_000);
            split();
            begun("shardId-000000000002");
            begun("shardId-000000000003");
            restart();
            more("records after the restart");
            merge();
            // The server may be in the middle of it.
            restart();
            active();
            begun("shardId-000000000004");
            more("records after the merge");
            producer.stop();
            everything();
            judge(worker.tables);
            say("all of the first worker's records are in");
            worker.stop();
        }
        takeUp();
        same(List.of(), ledger.wrong(), "what went wrong");
        System.out.printf(
                "kcl %s: %d records acknowledged, all processed in order, %d of them again; %.0f s%n",
                place.mode(),
                ledger.acknowledged(),
                ledger.again(),
                seconds());
    }

    private double seconds() {
        return (System.nanoTime() - started) / 1e9;
    }

    private void say(String what) {
        ledger.note(what);
        System.out.printf(
                "%.1f s: %s; %d of %d processed%n",
                seconds(), what, ledger.processed(), ledger.acknowledged());
    }

    private void active() throws Exception {
        Check.wait(
                "ACTIVE",
                PATIENCE,
                () ->
                        kinesis.describeStreamSummary(b -> b.streamName(STREAM))
                                                .streamDescriptionSummary()
                                                .streamStatus()
                                        == StreamStatus.ACTIVE
                                ? true
                                : null);
    }

    private List<Shard> shards() {
        return kinesis.listShards(b -> b.streamName(STREAM)).shards();
    }

    private void processed(String what, long count) throws Exception {
        Check.wait(
                what,
                PATIENCE,
                () -> {
                    same(List.of(), ledger.wrong(), "what went wrong before " + what);
                    return ledger.processed() >= count ? true : null;
                });
        say(what);
    }

    private void more(String what) throws Exception {
        processed(what, ledger.processed() + 2_000);
    }

    private void begun(String shard) throws Exception {
        Check.wait(
                "processing of " + shard,
                PATIENCE,
                () -> ledger.shards().contains("begin " + shard) ? true : null);
        say("processing of " + shard);
    }

    private void split() throws Exception {
        // A quarter of all hash keys: the middle of the first of two shards.
        kinesis.splitShard(
                b ->
                        b.streamName(STREAM)
                                .shardToSplit("shardId-000000000000")
                                .newStartingHashKey("85070591730234615865843651857942052864"));
        active();
        say("split");
    }

    private void merge() throws Exception {
        // The upper child and the shard that was never split.
        kinesis.mergeShards(
                b ->
                        b.streamName(STREAM)
                                .shardToMerge("shardId-000000000003")
                                .adjacentShardToMerge("shardId-000000000001"));
        say("merge");
    }

    private void restart() throws Exception {
        System.out.println("kill");
        System.out.flush();
        that(answers.readLine() != null, "the server is back");
        say("killed and restarted");
    }

    private void everything() throws Exception {
        Check.wait("the rest", PATIENCE, () -> ledger.missing().isEmpty() ? true : null);
        say("everything");
    }

    /** Parents before children, each closed shard to its end, a lease for each shard. */
    private void judge(DynamoDbAsyncClient tables) throws Exception {
        var shards = shards();
        same(5, shards.size(), "shards after a split and a merge");
        var story = ledger.shards();
        for (var shard : shards) {
            var begin = story.indexOf("begin " + shard.shardId());
            that(begin >= 0, shard.shardId() + " was processed");
            for (var parent : parents(shard)) {
                var end = story.indexOf("end " + parent);
                that(
                        0 <= end && end < begin,
                        shard.shardId() + " came before its parent " + parent + " ended: " + story);
            }
            var isClosed = shard.sequenceNumberRange().endingSequenceNumber() != null;
            same(
                    isClosed,
                    story.contains("end " + shard.shardId()),
                    "whether the end of " + shard.shardId() + " was reached");
        }
        // Leases of ended shards may be cleaned away; those that are there say SHARD_END.
        var leases = leases(tables);
        for (var shard : shards) {
            var lease = leases.get(shard.shardId());
            var isClosed = shard.sequenceNumberRange().endingSequenceNumber() != null;
            that(lease != null || isClosed, "no lease of " + shard.shardId());
            if (lease != null) {
                same(
                        isClosed,
                        lease.get("checkpoint").s().equals("SHARD_END"),
                        "whether the lease of " + shard.shardId() + " is at the end: " + lease);
            }
        }
        var merged = leases.get("shardId-000000000004");
        same(
                List.of("shardId-000000000001", "shardId-000000000003"),
                merged.get("parentShardId").ss().stream().sorted().toList(),
                "parents in the lease of the merged shard");
    }

    private static List<String> parents(Shard shard) {
        return Stream.of(shard.parentShardId(), shard.adjacentParentShardId())
                .filter(Objects::nonNull)
                .toList();
    }

    private Map<String, Map<String, AttributeValue>> leases(DynamoDbAsyncClient tables) {
        var leases = new HashMap<String, Map<String, AttributeValue>>();
        var table = place.application();
        tables.scan(b -> b.tableName(table))
                .join()
                .items()
                .forEach(item -> leases.put(item.get("leaseKey").s(), item));
        return leases;
    }

    /** Another worker goes on where the first one stopped: at its checkpoints, not at the start. */
    private void takeUp() throws Exception {
        var again = ledger.again();
        var producer = new Producer(kinesis, STREAM, "b", ledger);
        try (var worker = new Worker(place, "worker-2", ledger)) {
            more("records of the second worker");
            producer.stop();
            everything();
            same(again, ledger.again(), "records processed again after a clean stop");
            worker.stop();
        }
    }
}
