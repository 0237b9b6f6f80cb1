package weir;

import java.net.URI;
import java.time.Duration;
import java.util.concurrent.TimeUnit;
import software.amazon.awssdk.auth.credentials.AwsCredentialsProvider;
import software.amazon.awssdk.services.cloudwatch.CloudWatchAsyncClient;
import software.amazon.awssdk.services.dynamodb.DynamoDbAsyncClient;
import software.amazon.awssdk.services.kinesis.KinesisAsyncClient;
import software.amazon.kinesis.common.ConfigsBuilder;
import software.amazon.kinesis.common.InitialPositionInStream;
import software.amazon.kinesis.common.InitialPositionInStreamExtended;
import software.amazon.kinesis.common.KinesisClientUtil;
import software.amazon.kinesis.coordinator.Scheduler;
import software.amazon.kinesis.exceptions.InvalidStateException;
import software.amazon.kinesis.exceptions.ShutdownException;
import software.amazon.kinesis.lifecycle.events.InitializationInput;
import software.amazon.kinesis.lifecycle.events.LeaseLostInput;
import software.amazon.kinesis.lifecycle.events.ProcessRecordsInput;
import software.amazon.kinesis.lifecycle.events.ShardEndedInput;
import software.amazon.kinesis.lifecycle.events.ShutdownRequestedInput;
import software.amazon.kinesis.processor.RecordProcessorCheckpointer;
import software.amazon.kinesis.processor.ShardRecordProcessor;
import software.amazon.kinesis.processor.SingleStreamTracker;
import software.amazon.kinesis.retrieval.KinesisClientRecord;
import software.amazon.kinesis.retrieval.fanout.FanOutConfig;
import software.amazon.kinesis.retrieval.polling.PollingConfig;

/** One KCL worker over a stream, in this process; what it is given goes into the ledger. */
final class Worker implements AutoCloseable {
    private final KinesisAsyncClient kinesis;
    final DynamoDbAsyncClient tables;
    private final CloudWatchAsyncClient metrics;
    private final Scheduler scheduler;
    private final Thread thread;

    /** Where a worker reads, and where it keeps its leases. */
    record Place(
            URI kinesis, URI tables, AwsCredentialsProvider credentials, String stream, String mode) {
        String application() {
            return "kcl-" + mode;
        }
    }

    Worker(Place place, String name, Ledger ledger) {
        // As KCL's own documentation makes its client: HTTP/2 with pings.
        kinesis =
                KinesisClientUtil.createKinesisAsyncClient(
                        KinesisAsyncClient.builder()
                                .endpointOverride(place.kinesis)
                                .region(Clients.REGION)
                                .credentialsProvider(place.credentials));
        tables =
                DynamoDbAsyncClient.builder()
                        .endpointOverride(place.tables)
                        .region(Clients.REGION)
                        .credentialsProvider(place.credentials)
                        .build();
        metrics =
                CloudWatchAsyncClient.builder()
                        .endpointOverride(place.tables)
                        .region(Clients.REGION)
                        .credentialsProvider(place.credentials)
                        .build();
        scheduler = scheduler(place, name, ledger);
        thread = new Thread(scheduler, name);
        thread.setDaemon(true);
        thread.start();
    }

    private Scheduler scheduler(Place place, String name, Ledger ledger) {
        var oldest =
                InitialPositionInStreamExtended.newInitialPosition(
                        InitialPositionInStream.TRIM_HORIZON);
        var configs =
                new ConfigsBuilder(
                        new SingleStreamTracker(place.stream, oldest),
                        place.application(),
                        kinesis,
                        tables,
                        metrics,
                        name,
                        () -> new Processor(ledger));
        // Waits that are tens of seconds by default, which a test has no time for.
        var leases =
                configs.leaseManagementConfig()
                        .failoverTimeMillis(5_000)
                        .leaseAssignmentIntervalMillis(1_000L)
                        .shardSyncIntervalMillis(500)
                        .leasesRecoveryAuditorExecutionFrequencyMillis(5_000);
        leases.workerUtilizationAwareAssignmentConfig()
                .inMemoryWorkerMetricsCaptureFrequencyMillis(500)
                .workerMetricsReporterFreqInMillis(1_000);
        var coordinator =
                configs.coordinatorConfig()
                        .parentShardPollIntervalMillis(500)
                        .shardConsumerDispatchPollIntervalMillis(100)
                        .schedulerInitializationBackoffTimeMillis(1_000);
        var retrieval =
                configs.retrievalConfig()
                        .retrievalSpecificConfig(
                                place.mode.equals("FANOUT")
                                        ? new FanOutConfig(kinesis)
                                                .streamName(place.stream)
                                                .applicationName(place.application())
                                                .retryBackoffMillis(500)
                                        : new PollingConfig(place.stream, kinesis)
                                                .idleTimeBetweenReadsInMillis(250));
        return new Scheduler(
                configs.checkpointConfig(),
                coordinator,
                leases,
                configs.lifecycleConfig(),
                configs.metricsConfig().metricsBufferTimeMillis(1_000),
                configs.processorConfig(),
                retrieval);
    }

    /** Stops at a checkpoint, as a program that is told to does. */
    void stop() throws Exception {
        scheduler.startGracefulShutdown().get(60, TimeUnit.SECONDS);
        thread.join(Duration.ofSeconds(30).toMillis());
        Check.that(!thread.isAlive(), "a worker that was asked to ends within 30 s");
    }

    @Override
    public void close() {
        kinesis.close();
        tables.close();
        metrics.close();
    }

    private static final class Processor implements ShardRecordProcessor {
        private final Ledger ledger;
        private String shard;
        private long checkpointed = System.nanoTime();

        Processor(Ledger ledger) {
            this.ledger = ledger;
        }

        @Override
        public void initialize(InitializationInput input) {
            shard = input.shardId();
            ledger.note(shard + " from " + input.extendedSequenceNumber());
            ledger.begin(shard);
        }

        @Override
        public void processRecords(ProcessRecordsInput input) {
            for (var record : input.records()) {
                process(record);
            }
            if (System.nanoTime() - checkpointed > TimeUnit.SECONDS.toNanos(1)) {
                checkpointed = System.nanoTime();
                checkpoint(input.checkpointer());
            }
        }

        private void process(KinesisClientRecord record) {
            var bytes = new byte[record.data().remaining()];
            record.data().get(bytes);
            var words = new String(bytes, java.nio.charset.StandardCharsets.UTF_8).split(" ");
            if (!words[0].equals(record.partitionKey())) {
                ledger.wrong("data of " + words[0] + " under the key " + record.partitionKey());
            }
            var number = Integer.parseInt(words[1]);
            ledger.process(shard, words[0], number, record.sequenceNumber());
        }

        private void checkpoint(RecordProcessorCheckpointer checkpointer) {
            try {
                checkpointer.checkpoint();
            } catch (ShutdownException | InvalidStateException error) {
                ledger.note(shard + " checkpoint: " + error);
            }
        }

        @Override
        public void leaseLost(LeaseLostInput input) {
            ledger.note("lease lost " + shard);
        }

        @Override
        public void shardEnded(ShardEndedInput input) {
            checkpoint(input.checkpointer());
            ledger.end(shard);
        }

        @Override
        public void shutdownRequested(ShutdownRequestedInput input) {
            checkpoint(input.checkpointer());
            ledger.note("asked to stop " + shard);
        }
    }
}
