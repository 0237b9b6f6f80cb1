package weir;

import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.function.Predicate;
import software.amazon.awssdk.services.kinesis.KinesisAsyncClient;
import software.amazon.awssdk.services.kinesis.model.Record;
import software.amazon.awssdk.services.kinesis.model.StartingPosition;
import software.amazon.awssdk.services.kinesis.model.SubscribeToShardEvent;
import software.amazon.awssdk.services.kinesis.model.SubscribeToShardEventStream;
import software.amazon.awssdk.services.kinesis.model.SubscribeToShardResponseHandler;

/** One SubscribeToShard: its events in order, and how it ended. */
final class Subscription {
    private final CompletableFuture<Void> end;
    private final BlockingQueue<SubscribeToShardEvent> events = new LinkedBlockingQueue<>();
    private final CompletableFuture<org.reactivestreams.Subscription> open =
            new CompletableFuture<>();

    /** Every record so far, and the place to go on from. */
    final List<Record> records = new ArrayList<>();

    String continuation;
    SubscribeToShardEvent last;

    Subscription(
            KinesisAsyncClient kinesis, String consumer, String shard, StartingPosition from) {
        var handler =
                SubscribeToShardResponseHandler.builder()
                        .onEventStream(publisher -> publisher.subscribe(new Sink()))
                        .build();
        end =
                kinesis.subscribeToShard(
                        b -> b.consumerARN(consumer).shardId(shard).startingPosition(from),
                        handler);
    }

    /** Waits until the answer has begun: null, or why there is none. */
    Throwable beginning() {
        try {
            CompletableFuture.anyOf(open, end).get(30, TimeUnit.SECONDS);
            return null;
        } catch (ExecutionException failure) {
            return cause(failure);
        } catch (InterruptedException | TimeoutException error) {
            return error;
        }
    }

    private static Throwable cause(ExecutionException failure) {
        var cause = failure.getCause();
        return cause instanceof CompletionException ? cause.getCause() : cause;
    }

    private final class Sink implements org.reactivestreams.Subscriber<SubscribeToShardEventStream> {
        private org.reactivestreams.Subscription subscription;

        @Override
        public void onSubscribe(org.reactivestreams.Subscription subscription) {
            this.subscription = subscription;
            subscription.request(1);
            open.complete(subscription);
        }

        @Override
        public void onNext(SubscribeToShardEventStream event) {
            if (event instanceof SubscribeToShardEvent some) {
                events.add(some);
            }
            subscription.request(1);
        }

        @Override
        public void onError(Throwable error) {}

        @Override
        public void onComplete() {}
    }

    /** The next event, noted; null if none came within {@code patience}. */
    SubscribeToShardEvent next(Duration patience) throws InterruptedException {
        var event = events.poll(patience.toMillis(), TimeUnit.MILLISECONDS);
        if (event == null) {
            return null;
        }
        if (last != null) {
            Check.that(
                    last.continuationSequenceNumber() != null, "no event follows a shard's end");
        }
        records.addAll(event.records());
        continuation = event.continuationSequenceNumber();
        last = event;
        return event;
    }

    /** Takes events until one is as wanted; none may be silent for longer than AWS is. */
    SubscribeToShardEvent until(String what, Predicate<SubscribeToShardEvent> wanted)
            throws InterruptedException {
        var deadline = Instant.now().plusSeconds(30);
        while (true) {
            var event = next(Duration.ofMillis(6_500));
            Check.that(event != null, "no event for 6.5 s while waiting for " + what + ended());
            if (wanted.test(event)) {
                return event;
            }
            Check.that(Instant.now().isBefore(deadline), what + " did not come within 30 s");
        }
    }

    /** Takes events until it has {@code count} records. */
    void untilRecords(int count) throws InterruptedException {
        if (records.size() < count) {
            until(count + " records", event -> records.size() >= count);
        }
    }

    private String ended() {
        if (!end.isDone()) {
            return "; it is open";
        }
        return end.isCompletedExceptionally() ? "; it failed: " + end.handle((v, e) -> e).join()
                : "; it has ended";
    }

    /** Waits for its end: null if it was clean, else the SDK's exception. */
    Throwable end(Duration patience) throws InterruptedException, TimeoutException {
        try {
            end.get(patience.toMillis(), TimeUnit.MILLISECONDS);
            return null;
        } catch (ExecutionException failure) {
            return cause(failure);
        }
    }

    boolean isOpen() {
        return !end.isDone();
    }

    /** Goes away in the middle, as a program that is stopped does. */
    void cancel() {
        open.thenAccept(org.reactivestreams.Subscription::cancel);
    }
}
