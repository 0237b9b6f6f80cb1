package weir;

import static weir.Check.same;
import static weir.Check.that;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.stream.Collectors;
import software.amazon.awssdk.core.SdkBytes;
import software.amazon.awssdk.services.kinesis.KinesisAsyncClient;
import software.amazon.awssdk.services.kinesis.KinesisClient;
import software.amazon.awssdk.services.kinesis.model.ChildShard;
import software.amazon.awssdk.services.kinesis.model.ConsumerStatus;
import software.amazon.awssdk.services.kinesis.model.KinesisException;
import software.amazon.awssdk.services.kinesis.model.LimitExceededException;
import software.amazon.awssdk.services.kinesis.model.Record;
import software.amazon.awssdk.services.kinesis.model.ResourceInUseException;
import software.amazon.awssdk.services.kinesis.model.ResourceNotFoundException;
import software.amazon.awssdk.services.kinesis.model.ShardIteratorType;
import software.amazon.awssdk.services.kinesis.model.StartingPosition;
import software.amazon.awssdk.services.kinesis.model.StreamStatus;

/** SubscribeToShard through the asynchronous client. Argument: the endpoint. */
public final class FanOutSession {
    private static final String STREAM = "fan-out";
    private static final String SHARD = "shardId-000000000000";
    private static final Duration PATIENCE = Duration.ofSeconds(30);

    private final KinesisAsyncClient async;
    private final KinesisClient kinesis;
    private final List<String> sent = new ArrayList<>();
    private String arn;
    private String consumer;

    private FanOutSession(KinesisAsyncClient async) {
        this.async = async;
        this.kinesis = Clients.waiting(async);
    }

    public static void main(String[] arguments) throws Exception {
        try (var async = Clients.of(arguments[0]).async()) {
            var session = new FanOutSession(async);
            session.run();
            System.out.println("java fan-out: " + Check.held() + " checks");
        }
    }

    private void run() throws Exception {
        begin();
        refusals();
        var first = flow();
        var second = takeOver(first);
        idle(second);
        resume(second);
        cancelled();
        shardEnd();
        deregister();
    }

    private void begin() throws Exception {
        kinesis.createStream(b -> b.streamName(STREAM).shardCount(1));
        active();
        arn = kinesis.describeStreamSummary(b -> b.streamName(STREAM))
                .streamDescriptionSummary()
                .streamARN();
        consumer = register("first");
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

    private String register(String name) throws Exception {
        var arn = this.arn;
        var registered =
                kinesis.registerStreamConsumer(b -> b.streamARN(arn).consumerName(name))
                        .consumer();
        return Check.wait(
                "an ACTIVE consumer",
                PATIENCE,
                () ->
                        kinesis.describeStreamConsumer(
                                                        b ->
                                                                b.consumerARN(
                                                                        registered.consumerARN()))
                                                .consumerDescription()
                                                .consumerStatus()
                                        == ConsumerStatus.ACTIVE
                                ? registered.consumerARN()
                                : null);
    }

    /** Puts {@code count} records one after another. */
    private void put(int count) {
        for (int i = 0; i < count; i++) {
            var data = "record " + sent.size();
            kinesis.putRecord(
                    b ->
                            b.streamName(STREAM)
                                    .partitionKey("k" + sent.size())
                                    .data(SdkBytes.fromUtf8String(data)));
            sent.add(data);
        }
    }

    private static List<String> texts(List<Record> records) {
        return records.stream().map(record -> record.data().asUtf8String()).toList();
    }

    private static StartingPosition at(ShardIteratorType type) {
        return StartingPosition.builder().type(type).build();
    }

    private Subscription subscribe(String shard, StartingPosition from) {
        return new Subscription(async, consumer, shard, from);
    }

    private static <E extends KinesisException> void failed(
            Class<E> type, Subscription subscription) throws Exception {
        var error = subscription.end(PATIENCE);
        that(type.isInstance(error), type.getSimpleName() + " expected, found " + error);
    }

    private void refusals() throws Exception {
        var unknown = arn + "/consumer/nobody:1";
        failed(
                ResourceNotFoundException.class,
                new Subscription(async, unknown, SHARD, at(ShardIteratorType.LATEST)));
        failed(
                ResourceNotFoundException.class,
                subscribe("shardId-000000000077", at(ShardIteratorType.LATEST)));
    }

    /** Records flow as they come, from the oldest on; each once, in order. */
    private Subscription flow() throws Exception {
        put(30);
        var subscription = subscribe(SHARD, at(ShardIteratorType.TRIM_HORIZON));
        subscription.untilRecords(30);
        for (int i = 0; i < 20; i++) {
            put(5);
            subscription.untilRecords(sent.size());
            same(0L, subscription.last.millisBehindLatest(), "milliseconds behind at the tip");
        }
        same(sent, texts(subscription.records), "records");
        return subscription;
    }

    /** Within 5 s a second subscription is refused; later it takes the shard over. */
    private Subscription takeOver(Subscription first) throws Exception {
        var before = System.nanoTime();
        var open = resubscribe(at(ShardIteratorType.TRIM_HORIZON));
        failed(ResourceInUseException.class, first);
        open.untilRecords(sent.size());
        same(sent, texts(open.records), "records of who took over");
        while (true) {
            var early = subscribe(SHARD, at(ShardIteratorType.LATEST));
            var error = early.beginning();
            if (error instanceof ResourceInUseException) {
                that(open.isOpen(), "a refused subscription leaves the open one alone");
                return open;
            }
            if (error == null) {
                // A machine that is slow enough comes too late for a refusal.
                var age = Duration.ofNanos(System.nanoTime() - before);
                that(age.toMillis() > 4_900, "a shard was taken over after " + age);
                return early;
            }
            that(error instanceof LimitExceededException, "refused for a time, not: " + error);
            Thread.sleep(100);
        }
    }

    /** An idle subscription says something at least every 5 s. */
    private void idle(Subscription subscription) throws Exception {
        while (subscription.next(Duration.ZERO) != null) {}
        for (int i = 0; i < 2; i++) {
            var event = subscription.next(Duration.ofMillis(5_900));
            that(event != null, "an idle subscription is silent for 5.9 s");
            same(List.of(), event.records(), "records of an idle shard");
            that(event.continuationSequenceNumber() != null, "an event has a place to go on from");
            that(!event.hasChildShards(), "an open shard has no children: " + event);
        }
    }

    /** What follows ContinuationSequenceNumber is exactly what was not seen. */
    private void resume(Subscription subscription) throws Exception {
        var seen = subscription.records.size();
        var from =
                StartingPosition.builder()
                        .type(ShardIteratorType.AFTER_SEQUENCE_NUMBER)
                        .sequenceNumber(subscription.continuation)
                        .build();
        subscription.cancel();
        put(10);
        var next = resubscribe(from);
        next.untilRecords(10);
        same(sent.subList(seen, sent.size()), texts(next.records), "records since then");
        next.cancel();
    }

    /** Subscribes as soon as the one before is gone or 5 s old. */
    private Subscription resubscribe(StartingPosition from) throws Exception {
        return Check.wait(
                "a shard that is free",
                Duration.ofSeconds(20),
                () -> {
                    var next = subscribe(SHARD, from);
                    var error = next.beginning();
                    // Someone has it, or this consumer asked for it within the last second.
                    that(
                            error == null
                                    || error instanceof ResourceInUseException
                                    || error instanceof LimitExceededException,
                            "refused for a time, not: " + error);
                    return error == null ? next : null;
                });
    }

    /** Clients that go away in the middle do no harm to others of the connection. */
    private void cancelled() throws Exception {
        var other = register("second");
        var steady = new Subscription(async, other, SHARD, at(ShardIteratorType.LATEST));
        same(null, steady.beginning(), "why a second consumer is refused");
        steady.next(Duration.ofMillis(500));
        var before = sent.size();
        for (int i = 0; i < 3; i++) {
            var passing = resubscribe(at(ShardIteratorType.TRIM_HORIZON));
            passing.next(Duration.ofMillis(500));
            passing.cancel();
            put(5);
        }
        steady.untilRecords(15);
        same(sent.subList(before, sent.size()), texts(steady.records), "records of the other");
        steady.cancel();
    }

    /** A split ends the parent's subscription with the rest and its children, cleanly. */
    private void shardEnd() throws Exception {
        var subscription = resubscribe(at(ShardIteratorType.TRIM_HORIZON));
        put(5);
        kinesis.splitShard(
                b ->
                        b.streamName(STREAM)
                                .shardToSplit(SHARD)
                                .newStartingHashKey("170141183460469231731687303715884105728"));
        var last =
                subscription.until(
                        "the shard's end", event -> event.continuationSequenceNumber() == null);
        same(
                Set.of("shardId-000000000001", "shardId-000000000002"),
                last.childShards().stream().map(ChildShard::shardId).collect(Collectors.toSet()),
                "children");
        for (var child : last.childShards()) {
            same(List.of(SHARD), child.parentShards(), "a child's parents");
        }
        same(null, subscription.end(PATIENCE), "the end of a shard's subscription");
        same(sent, texts(subscription.records), "all of the parent's records");
        active();
        var before = sent.size();
        var children =
                last.childShards().stream()
                        .map(child -> subscribe(child.shardId(), at(ShardIteratorType.TRIM_HORIZON)))
                        .toList();
        put(40);
        var found = new ArrayList<String>();
        for (var child : children) {
            child.until("a record", event -> !child.records.isEmpty());
        }
        Check.wait(
                "all records of both children",
                PATIENCE,
                () -> {
                    found.clear();
                    for (var child : children) {
                        try {
                            child.next(Duration.ofMillis(20));
                        } catch (InterruptedException interrupted) {
                            throw new IllegalStateException(interrupted);
                        }
                        found.addAll(texts(child.records));
                    }
                    return found.size() >= 40 ? true : null;
                });
        same(
                Set.copyOf(sent.subList(before, sent.size())),
                Set.copyOf(found),
                "the children's records");
        same(40, found.size(), "none of them twice");
        children.forEach(Subscription::cancel);
    }

    /** A consumer that is taken away takes its subscriptions along. */
    private void deregister() throws Exception {
        var gone = register("gone");
        var subscription =
                new Subscription(
                        async, gone, "shardId-000000000001", at(ShardIteratorType.LATEST));
        subscription.until("its first event", event -> true);
        kinesis.deregisterStreamConsumer(b -> b.consumerARN(gone));
        failed(ResourceNotFoundException.class, subscription);
        kinesis.deleteStream(b -> b.streamName(STREAM).enforceConsumerDeletion(true));
    }
}
