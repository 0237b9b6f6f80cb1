package weir;

import static weir.Check.refused;
import static weir.Check.same;
import static weir.Check.that;

import java.math.BigInteger;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import java.util.stream.IntStream;
import software.amazon.awssdk.core.SdkBytes;
import software.amazon.awssdk.services.kinesis.KinesisClient;
import software.amazon.awssdk.services.kinesis.model.*;
import software.amazon.awssdk.services.kinesis.model.Record;

/**
 * What a program does with streams, through the SDK's synchronous or asynchronous client.
 * Arguments: sync or async, the endpoint, and the parts to run if not all.
 */
public final class SdkSession {
    private static final Duration PATIENCE = Duration.ofSeconds(30);
    private static final String ACCOUNT = "000000000000";
    private static final BigInteger HASH_KEYS = BigInteger.TWO.pow(128);

    private final KinesisClient kinesis;
    /** Streams of two sessions do not meet. */
    private final String prefix;

    private SdkSession(KinesisClient kinesis, String prefix) {
        this.kinesis = kinesis;
        this.prefix = prefix;
    }

    public static void main(String[] arguments) throws Exception {
        var kind = arguments[0];
        var clients = Clients.of(arguments[1]);
        var kinesis = kind.equals("sync") ? clients.sync() : Clients.waiting(clients.async());
        try {
            var session = new SdkSession(kinesis, kind);
            session.run(List.of(arguments).subList(2, arguments.length));
            System.out.println("java sdk " + kind + ": " + Check.held() + " checks");
        } finally {
            kinesis.close();
        }
    }

    private interface Part {
        void run() throws Exception;
    }

    /** Runs the parts named, or all. */
    private void run(List<String> wanted) throws Exception {
        var parts = new LinkedHashMap<String, Part>();
        parts.put("streams", this::streams);
        parts.put("records", this::records);
        parts.put("places", this::places);
        parts.put("largest", this::largest);
        parts.put("throttled", this::throttled);
        parts.put("tags", this::tags);
        parts.put("settings", this::settings);
        parts.put("consumers", this::consumers);
        parts.put("resharding", this::resharding);
        parts.put("refusals", this::refusals);
        for (var part : wanted.isEmpty() ? parts.keySet() : wanted) {
            parts.get(part).run();
        }
    }

    private String name(String part) {
        return prefix + "-" + part;
    }

    private StreamDescriptionSummary active(String stream) throws Exception {
        return Check.wait(
                stream + " ACTIVE",
                PATIENCE,
                () -> {
                    var about =
                            kinesis.describeStreamSummary(b -> b.streamName(stream))
                                    .streamDescriptionSummary();
                    return about.streamStatus() == StreamStatus.ACTIVE ? about : null;
                });
    }

    private StreamDescriptionSummary create(String stream, int shards) throws Exception {
        kinesis.createStream(b -> b.streamName(stream).shardCount(shards));
        return active(stream);
    }

    /** On demand, so that no quota slows a test down. */
    private void createOnDemand(String stream) throws Exception {
        kinesis.createStream(
                b ->
                        b.streamName(stream)
                                .streamModeDetails(m -> m.streamMode(StreamMode.ON_DEMAND)));
        active(stream);
    }

    private void delete(String stream) throws Exception {
        kinesis.deleteStream(b -> b.streamName(stream));
        Check.wait(
                "the end of " + stream,
                PATIENCE,
                () -> kinesis.listStreams().streamNames().contains(stream) ? null : true);
    }

    private List<Shard> shards(String stream) {
        return kinesis.listShards(b -> b.streamName(stream)).shards();
    }

    private void streams() throws Exception {
        var stream = name("streams");
        var before = Instant.now().minusSeconds(5);
        kinesis.createStream(b -> b.streamName(stream).shardCount(2));
        refused(
                ResourceInUseException.class,
                "Stream " + stream + " under account " + ACCOUNT + " already exists.",
                () -> kinesis.createStream(b -> b.streamName(stream).shardCount(2)));
        var about = active(stream);
        same(2, about.openShardCount(), "open shards");
        same(24, about.retentionPeriodHours(), "retention");
        same(EncryptionType.NONE, about.encryptionType(), "encryption");
        same(0, about.consumerCount(), "consumers");
        same(StreamMode.PROVISIONED, about.streamModeDetails().streamMode(), "mode");
        var arn = "arn:aws:kinesis:" + Clients.REGION.id() + ":" + ACCOUNT + ":stream/" + stream;
        same(arn, about.streamARN(), "ARN");
        // A time read with the wrong unit lies in 1970 or in the year 53,000.
        var created = about.streamCreationTimestamp();
        that(
                created.isAfter(before) && created.isBefore(Instant.now().plusSeconds(5)),
                "created at " + created);

        var described =
                kinesis.describeStream(b -> b.streamARN(arn).limit(1)).streamDescription();
        same(1, described.shards().size(), "shards of the first page");
        same(true, described.hasMoreShards(), "more shards");
        same(1, described.enhancedMonitoring().size(), "lists of metrics");
        var all = shards(stream);
        same(2, all.size(), "listed shards");
        same(described.shards().get(0), all.get(0), "the same shard, listed and described");
        same("shardId-000000000001", all.get(1).shardId(), "second shard");
        var border = HASH_KEYS.divide(BigInteger.TWO);
        same(border.toString(), all.get(1).hashKeyRange().startingHashKey(), "its first hash key");
        same(
                HASH_KEYS.subtract(BigInteger.ONE).toString(),
                all.get(1).hashKeyRange().endingHashKey(),
                "its last hash key");
        same(null, all.get(0).parentShardId(), "a first shard's parent");
        same(null, all.get(0).sequenceNumberRange().endingSequenceNumber(), "an open shard's end");

        var page = kinesis.listShards(b -> b.streamName(stream).maxResults(1));
        var rest = kinesis.listShards(b -> b.nextToken(page.nextToken()));
        same(all.get(1), rest.shards().get(0), "the second page");
        same(null, rest.nextToken(), "a token after the last page");
        that(kinesis.listStreams().streamNames().contains(stream), "the stream is listed");
        var limits = kinesis.describeLimits();
        that(limits.shardLimit() > 0 && limits.openShardCount() >= 2, "limits: " + limits);
        delete(stream);
        refused(
                ResourceNotFoundException.class,
                "Stream " + stream + " under account " + ACCOUNT + " not found.",
                () -> kinesis.describeStream(b -> b.streamName(stream)));
    }

    /** All records from a place to the tip, in pages of {@code limit}. */
    private List<Record> read(
            String stream, String shard, int limit, GetShardIteratorRequest.Builder place) {
        var request = place.streamName(stream).shardId(shard).build();
        var iterator = kinesis.getShardIterator(request).shardIterator();
        var records = new ArrayList<Record>();
        while (true) {
            var from = iterator;
            var answer = kinesis.getRecords(b -> b.shardIterator(from).limit(limit));
            that(answer.records().size() <= limit, "no more records than asked for");
            records.addAll(answer.records());
            if (answer.nextShardIterator() == null) {
                that(answer.hasChildShards(), "a shard ends with its children: " + answer);
                return records;
            }
            that(!answer.hasChildShards(), "an open place has no children: " + answer);
            that(!answer.nextShardIterator().equals(from), "each iterator differs from the last");
            iterator = answer.nextShardIterator();
            if (answer.records().isEmpty() && answer.millisBehindLatest() == 0) {
                return records;
            }
        }
    }

    private static GetShardIteratorRequest.Builder from(ShardIteratorType type) {
        return GetShardIteratorRequest.builder().shardIteratorType(type);
    }

    private static PutRecordsRequestEntry entry(String key, byte[] data) {
        return PutRecordsRequestEntry.builder()
                .partitionKey(key)
                .data(SdkBytes.fromByteArray(data))
                .build();
    }

    private static byte[] text(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    /** Every byte, no byte, keys outside ASCII: in and out again, where the answers say. */
    private void records() throws Exception {
        var stream = name("records");
        createOnDemand(stream);
        var everything = new byte[256 * 64];
        for (int i = 0; i < everything.length; i++) {
            everything[i] = (byte) i;
        }
        var entries = new ArrayList<PutRecordsRequestEntry>();
        for (int i = 0; i < 500; i++) {
            var data = i % 3 == 0 ? everything : i % 3 == 1 ? new byte[0] : text("record " + i);
            entries.add(entry("Schlüssel-" + i + "-🗝", data));
        }
        var before = Instant.now();
        var put = kinesis.putRecords(b -> b.streamName(stream).records(entries));
        var after = Instant.now();
        same(0, put.failedRecordCount(), "failed records");
        same(500, put.records().size(), "answered records");
        var placed = new TreeMap<String, List<Integer>>();
        for (int i = 0; i < 500; i++) {
            var answer = put.records().get(i);
            same(null, answer.errorCode(), "an error code");
            placed.computeIfAbsent(answer.shardId(), any -> new ArrayList<>()).add(i);
        }
        same(4, placed.size(), "shards that got records");
        for (var shard : placed.entrySet()) {
            var found = read(stream, shard.getKey(), 50, from(ShardIteratorType.TRIM_HORIZON));
            same(shard.getValue().size(), found.size(), "records of " + shard.getKey());
            for (int j = 0; j < found.size(); j++) {
                var i = shard.getValue().get(j);
                var record = found.get(j);
                same(entries.get(i).partitionKey(), record.partitionKey(), "key");
                same(entries.get(i).data().asByteArray(), record.data(), "data of record " + i);
                same(put.records().get(i).sequenceNumber(), record.sequenceNumber(), "number");
                var arrived = record.approximateArrivalTimestamp();
                that(
                        !arrived.isBefore(before.minusMillis(50))
                                && !arrived.isAfter(after.plusMillis(50)),
                        arrived + " is not between " + before + " and " + after);
            }
        }
        var explicit =
                kinesis.putRecord(
                        b ->
                                b.streamName(stream)
                                        .partitionKey("x")
                                        .explicitHashKey("0")
                                        .data(SdkBytes.fromUtf8String("explicit")));
        same("shardId-000000000000", explicit.shardId(), "the shard of hash key 0");
        var ordered =
                kinesis.putRecord(
                        b ->
                                b.streamName(stream)
                                        .partitionKey("x")
                                        .explicitHashKey("0")
                                        .sequenceNumberForOrdering(explicit.sequenceNumber())
                                        .data(SdkBytes.fromUtf8String("after it")));
        that(
                new BigInteger(ordered.sequenceNumber())
                                .compareTo(new BigInteger(explicit.sequenceNumber()))
                        > 0,
                "numbers rise");
        delete(stream);
    }

    /** All five places to start from; a time is cut to the millisecond. */
    private void places() throws Exception {
        var stream = name("places");
        createOnDemand(stream);
        var shard = "shardId-000000000000";
        var numbers = new ArrayList<String>();
        for (int i = 0; i < 10; i++) {
            numbers.add(put(stream, "early " + i));
        }
        var early = read(stream, shard, 3, from(ShardIteratorType.TRIM_HORIZON));
        same(10, early.size(), "early records");
        // A place in time, past everything so far, to the millisecond. Never one in the future.
        var cut = early.get(9).approximateArrivalTimestamp().plusMillis(2);
        Check.wait("the cut", PATIENCE, () -> Instant.now().isAfter(cut) ? true : null);
        var latest =
                kinesis.getShardIterator(
                                from(ShardIteratorType.LATEST)
                                        .streamName(stream)
                                        .shardId(shard)
                                        .build())
                        .shardIterator();
        for (int i = 0; i < 5; i++) {
            put(stream, "late " + i);
        }
        var late = read(stream, shard, 100, from(ShardIteratorType.AT_TIMESTAMP).timestamp(cut));
        same(
                List.of("late 0", "late 1", "late 2", "late 3", "late 4"),
                late.stream().map(record -> record.data().asUtf8String()).toList(),
                "records since the cut");
        var exact = early.get(4).approximateArrivalTimestamp();
        var since = read(stream, shard, 100, from(ShardIteratorType.AT_TIMESTAMP).timestamp(exact));
        same(exact, since.get(0).approximateArrivalTimestamp(), "the first record at its own time");
        var tip = kinesis.getRecords(b -> b.shardIterator(latest));
        same("late 0", tip.records().get(0).data().asUtf8String(), "first since LATEST was taken");
        same(0L, tip.millisBehindLatest(), "milliseconds behind");
        var at =
                read(
                        stream,
                        shard,
                        100,
                        from(ShardIteratorType.AT_SEQUENCE_NUMBER)
                                .startingSequenceNumber(numbers.get(4)));
        same(numbers.get(4), at.get(0).sequenceNumber(), "AT_SEQUENCE_NUMBER");
        same(11, at.size(), "records at and after a number");
        var after =
                read(
                        stream,
                        shard,
                        100,
                        from(ShardIteratorType.AFTER_SEQUENCE_NUMBER)
                                .startingSequenceNumber(numbers.get(4)));
        same(numbers.get(5), after.get(0).sequenceNumber(), "AFTER_SEQUENCE_NUMBER");
        var behind =
                kinesis.getShardIterator(
                                from(ShardIteratorType.TRIM_HORIZON)
                                        .streamName(stream)
                                        .shardId(shard)
                                        .build())
                        .shardIterator();
        Thread.sleep(5);
        var first = kinesis.getRecords(b -> b.shardIterator(behind).limit(1));
        that(
                first.millisBehindLatest() > 0 && first.millisBehindLatest() < 60_000,
                first.millisBehindLatest() + " ms behind");
        delete(stream);
    }

    private String put(String stream, String data) {
        return kinesis.putRecord(
                        b ->
                                b.streamName(stream)
                                        .partitionKey("k")
                                        .explicitHashKey("0")
                                        .data(SdkBytes.fromUtf8String(data)))
                .sequenceNumber();
    }

    /** The largest call, 10 MiB of records, there and back; and one byte more. */
    private void largest() throws Exception {
        var stream = name("largest");
        createOnDemand(stream);
        var random = new Random(7);
        var entries = new ArrayList<PutRecordsRequestEntry>();
        for (int i = 0; i < 10; i++) {
            var data = new byte[(1 << 20) - 2];
            random.nextBytes(data);
            var entry = PutRecordsRequestEntry.builder().partitionKey("k" + i);
            entries.add(
                    entry.explicitHashKey("0").data(SdkBytes.fromByteArray(data)).build());
        }
        var put = kinesis.putRecords(b -> b.streamName(stream).records(entries));
        same(0, put.failedRecordCount(), "failed records");
        var found =
                read(stream, "shardId-000000000000", 10_000, from(ShardIteratorType.TRIM_HORIZON));
        same(10, found.size(), "large records");
        for (int i = 0; i < 10; i++) {
            same(entries.get(i).data().asByteArray(), found.get(i).data(), "large record " + i);
        }
        refused(
                KinesisException.class,
                "Member must have length less than or equal to 1048576",
                () -> {
                    var data = SdkBytes.fromByteArray(new byte[(1 << 20) + 1]);
                    return kinesis.putRecord(
                            b -> b.streamName(stream).partitionKey("k").data(data));
                });
        delete(stream);
    }

    /** A metered shard takes what its second allows, and names what it refused. */
    private void throttled() throws Exception {
        var stream = name("throttled");
        create(stream, 2);
        // One shard is asked for far more than its 1,000 records a second, the other for one.
        var flood =
                IntStream.range(0, 500)
                        .mapToObj(
                                i ->
                                        PutRecordsRequestEntry.builder()
                                                .partitionKey("k" + i)
                                                .explicitHashKey(
                                                        i == 250
                                                                ? HASH_KEYS
                                                                        .subtract(BigInteger.ONE)
                                                                        .toString()
                                                                : "0")
                                                .data(SdkBytes.fromUtf8String("x"))
                                                .build())
                        .toList();
        PutRecordsResponse partly = null;
        for (int i = 0; i < 20 && partly == null; i++) {
            var answer = kinesis.putRecords(b -> b.streamName(stream).records(flood));
            partly = answer.failedRecordCount() > 0 ? answer : null;
        }
        that(partly != null, "20 calls of 499 records to one shard met no quota");
        var refused = partly.records().get(0);
        same("ProvisionedThroughputExceededException", refused.errorCode(), "error code");
        same(
                "Rate exceeded for shard shardId-000000000000 in stream "
                        + stream
                        + " under account "
                        + ACCOUNT
                        + ".",
                refused.errorMessage(),
                "error message");
        same(null, refused.sequenceNumber(), "number of a refused record");
        same("shardId-000000000001", partly.records().get(250).shardId(), "the other shard");
        var failed = partly.records().stream().filter(r -> r.errorCode() != null).count();
        same((long) partly.failedRecordCount(), failed, "failed records, counted");
        refused(
                ProvisionedThroughputExceededException.class,
                "Rate exceeded for shard shardId-000000000000",
                () -> {
                    for (int i = 0; i < 2_000; i++) {
                        put(stream, "x");
                    }
                    return "2,000 puts at once";
                });
        delete(stream);
    }

    private void tags() throws Exception {
        var stream = name("tags");
        create(stream, 1);
        kinesis.addTagsToStream(
                b -> b.streamName(stream).tags(Map.of("team", "blue", "größe", "klein")));
        var answer = kinesis.listTagsForStream(b -> b.streamName(stream).limit(1));
        same(true, answer.hasMoreTags(), "more tags");
        same("größe", answer.tags().get(0).key(), "first tag");
        kinesis.removeTagsFromStream(b -> b.streamName(stream).tagKeys("größe"));
        var left = kinesis.listTagsForStream(b -> b.streamName(stream)).tags();
        same(List.of(Tag.builder().key("team").value("blue").build()), left, "tags left");
        var arn = active(stream).streamARN();
        kinesis.tagResource(b -> b.resourceARN(arn).tags(Map.of("cost", "7")));
        same(
                2,
                kinesis.listTagsForResource(b -> b.resourceARN(arn)).tags().size(),
                "tags of the ARN");
        kinesis.untagResource(b -> b.resourceARN(arn).tagKeys("cost", "team"));
        same(
                List.of(),
                kinesis.listTagsForStream(b -> b.streamName(stream)).tags(),
                "tags after all are taken off");
        refused(
                InvalidArgumentException.class,
                "",
                () -> kinesis.addTagsToStream(b -> b.streamName(stream).tags(Map.of("a", "%"))));
        delete(stream);
    }

    private void settings() throws Exception {
        var stream = name("settings");
        create(stream, 1);
        kinesis.increaseStreamRetentionPeriod(
                b -> b.streamName(stream).retentionPeriodHours(48));
        same(48, active(stream).retentionPeriodHours(), "longer retention");
        refused(
                InvalidArgumentException.class,
                "is too long.",
                () ->
                        kinesis.increaseStreamRetentionPeriod(
                                b -> b.streamName(stream).retentionPeriodHours(8761)));
        kinesis.decreaseStreamRetentionPeriod(
                b -> b.streamName(stream).retentionPeriodHours(24));
        var monitored =
                kinesis.enableEnhancedMonitoring(
                        b -> b.streamName(stream).shardLevelMetrics(MetricsName.INCOMING_BYTES));
        same(List.of(), monitored.currentShardLevelMetrics(), "metrics before");
        same(
                List.of(MetricsName.INCOMING_BYTES),
                monitored.desiredShardLevelMetrics(),
                "metrics after");
        active(stream);
        kinesis.startStreamEncryption(
                b ->
                        b.streamName(stream)
                                .encryptionType(EncryptionType.KMS)
                                .keyId("alias/aws/kinesis"));
        var encrypted = active(stream);
        same(EncryptionType.KMS, encrypted.encryptionType(), "encryption");
        same("alias/aws/kinesis", encrypted.keyId(), "its key");
        kinesis.updateStreamMode(
                b ->
                        b.streamARN(encrypted.streamARN())
                                .streamModeDetails(m -> m.streamMode(StreamMode.ON_DEMAND)));
        same(
                StreamMode.ON_DEMAND,
                active(stream).streamModeDetails().streamMode(),
                "the new mode");
        delete(stream);
    }

    private void consumers() throws Exception {
        var stream = name("consumers");
        var arn = create(stream, 1).streamARN();
        refused(
                ResourceNotFoundException.class,
                "",
                () -> kinesis.describeStreamConsumer(b -> b.streamARN(arn).consumerName("app")));
        var consumer =
                kinesis.registerStreamConsumer(b -> b.streamARN(arn).consumerName("app"))
                        .consumer();
        same(ConsumerStatus.CREATING, consumer.consumerStatus(), "a new consumer's status");
        var created = consumer.consumerCreationTimestamp();
        same(
                arn + "/consumer/app:" + created.getEpochSecond(),
                consumer.consumerARN(),
                "consumer ARN");
        refused(
                ResourceInUseException.class,
                "app",
                () -> kinesis.registerStreamConsumer(b -> b.streamARN(arn).consumerName("app")));
        Check.wait(
                "an ACTIVE consumer",
                PATIENCE,
                () -> {
                    var about =
                            kinesis.describeStreamConsumer(
                                            b -> b.consumerARN(consumer.consumerARN()))
                                    .consumerDescription();
                    same(arn, about.streamARN(), "a consumer's stream");
                    return about.consumerStatus() == ConsumerStatus.ACTIVE ? about : null;
                });
        var listed = kinesis.listStreamConsumers(b -> b.streamARN(arn)).consumers();
        same(1, listed.size(), "listed consumers");
        same(created, listed.get(0).consumerCreationTimestamp(), "its creation");
        refused(
                ResourceInUseException.class,
                "",
                () -> kinesis.deleteStream(b -> b.streamName(stream)));
        kinesis.deregisterStreamConsumer(b -> b.streamARN(arn).consumerName("app"));
        Check.wait(
                "the consumer's end",
                PATIENCE,
                () -> {
                    var left = kinesis.listStreamConsumers(b -> b.streamARN(arn));
                    return left.consumers().isEmpty() ? true : null;
                });
        delete(stream);
    }

    /** A split and a merge: children name their parents, and parents are read to their end. */
    private void resharding() throws Exception {
        var stream = name("resharding");
        create(stream, 1);
        for (int i = 0; i < 20; i++) {
            put(stream, "before " + i);
        }
        var middle = HASH_KEYS.divide(BigInteger.TWO).toString();
        kinesis.splitShard(
                b ->
                        b.streamName(stream)
                                .shardToSplit("shardId-000000000000")
                                .newStartingHashKey(middle));
        same(2, active(stream).openShardCount(), "open shards after the split");
        var all = shards(stream);
        same(3, all.size(), "shards after the split");
        that(
                all.get(0).sequenceNumberRange().endingSequenceNumber() != null,
                "a closed shard has an end");
        for (var child : all.subList(1, 3)) {
            same("shardId-000000000000", child.parentShardId(), "a child's parent");
            same(null, child.adjacentParentShardId(), "a split's second parent");
        }
        same(middle, all.get(2).hashKeyRange().startingHashKey(), "the upper child's first key");

        var iterator =
                kinesis.getShardIterator(
                                from(ShardIteratorType.TRIM_HORIZON)
                                        .streamName(stream)
                                        .shardId("shardId-000000000000")
                                        .build())
                        .shardIterator();
        var count = 0;
        GetRecordsResponse answer = null;
        while (iterator != null) {
            var here = iterator;
            answer = kinesis.getRecords(b -> b.shardIterator(here));
            count += answer.records().size();
            iterator = answer.nextShardIterator();
        }
        same(20, count, "records of the parent");
        same(2, answer.childShards().size(), "children at its end");
        for (var child : answer.childShards()) {
            same(List.of("shardId-000000000000"), child.parentShards(), "a child's parents");
            that(child.hashKeyRange().endingHashKey() != null, "a child's range");
        }

        var number = put(stream, "after");
        var found =
                read(stream, "shardId-000000000001", 100, from(ShardIteratorType.TRIM_HORIZON));
        same(number, found.get(0).sequenceNumber(), "the child's first record");
        kinesis.mergeShards(
                b ->
                        b.streamName(stream)
                                .shardToMerge("shardId-000000000001")
                                .adjacentShardToMerge("shardId-000000000002"));
        same(1, active(stream).openShardCount(), "open shards after the merge");
        var merged = shards(stream).get(3);
        same("shardId-000000000001", merged.parentShardId(), "the merged shard's parent");
        same("shardId-000000000002", merged.adjacentParentShardId(), "and its other one");
        var open =
                kinesis.listShards(
                        b ->
                                b.streamName(stream)
                                        .shardFilter(f -> f.type(ShardFilterType.AT_LATEST)));
        same(List.of(merged), open.shards(), "shards at the tip");
        var counted =
                kinesis.updateShardCount(
                        b ->
                                b.streamName(stream)
                                        .targetShardCount(2)
                                        .scalingType(ScalingType.UNIFORM_SCALING));
        same(1, counted.currentShardCount(), "count before");
        same(2, counted.targetShardCount(), "count wanted");
        same(2, active(stream).openShardCount(), "count after");
        delete(stream);
    }

    /** Errors come as the SDK's own types. */
    private void refusals() throws Exception {
        var stream = name("refusals");
        create(stream, 1);
        refused(
                ResourceNotFoundException.class,
                "Stream nowhere under account " + ACCOUNT + " not found.",
                () -> kinesis.describeStreamSummary(b -> b.streamName("nowhere")));
        refused(
                ResourceNotFoundException.class,
                "Shard shardId-000000000009 in stream " + stream,
                () ->
                        kinesis.getShardIterator(
                                from(ShardIteratorType.LATEST)
                                        .streamName(stream)
                                        .shardId("shardId-000000000009")
                                        .build()));
        refused(
                InvalidArgumentException.class,
                "Invalid ShardIterator.",
                () -> kinesis.getRecords(b -> b.shardIterator("A".repeat(200))));
        refused(
                InvalidArgumentException.class,
                "timestampInMillis",
                () ->
                        kinesis.getShardIterator(
                                from(ShardIteratorType.AT_TIMESTAMP)
                                        .timestamp(Instant.now().plusSeconds(3600))
                                        .streamName(stream)
                                        .shardId("0")
                                        .build()));
        var validation =
                refused(
                        KinesisException.class,
                        "1 validation error detected: ",
                        () -> kinesis.getRecords(b -> b.limit(0).shardIterator("AAAA")));
        same("ValidationException", validation.awsErrorDetails().errorCode(), "its name");
        refused(
                InvalidArgumentException.class,
                "Invalid ExplicitHashKey",
                () ->
                        kinesis.putRecord(
                                b ->
                                        b.streamName(stream)
                                                .partitionKey("k")
                                                .explicitHashKey(HASH_KEYS.toString())
                                                .data(SdkBytes.fromUtf8String("x"))));
        refused(
                InvalidArgumentException.class,
                "",
                () ->
                        kinesis.splitShard(
                                b ->
                                        b.streamName(stream)
                                                .shardToSplit("shardId-000000000000")
                                                .newStartingHashKey("0")));
        delete(stream);
    }
}
