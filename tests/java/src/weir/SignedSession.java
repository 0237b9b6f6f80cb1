package weir;

import static weir.Check.same;

import java.time.Duration;
import java.util.Random;
import software.amazon.awssdk.auth.credentials.AwsCredentialsProvider;
import software.amazon.awssdk.core.SdkBytes;
import software.amazon.awssdk.services.kinesis.KinesisClient;
import software.amazon.awssdk.services.kinesis.model.KinesisException;
import software.amazon.awssdk.services.kinesis.model.ResourceNotFoundException;
import software.amazon.awssdk.services.kinesis.model.ShardIteratorType;
import software.amazon.awssdk.services.kinesis.model.StreamMode;
import software.amazon.awssdk.services.kinesis.model.StreamStatus;

/**
 * A server that verifies signatures. Arguments: sync or async, the endpoint, a key it knows and that
 * key's secret.
 */
public final class SignedSession {
    private SignedSession() {}

    public static void main(String[] arguments) throws Exception {
        var kind = arguments[0];
        var clients = Clients.of(arguments[1]);
        var known = arguments[2];
        try (var kinesis = open(clients, kind, Clients.keys(known, arguments[3]))) {
            session(kinesis, kind);
        }
        refused(clients, kind, Clients.keys(known, "another"), "InvalidSignatureException");
        refused(clients, kind, Clients.keys("stranger", "x"), "UnrecognizedClientException");
        System.out.println("java signed " + kind + ": " + Check.held() + " checks");
    }

    private static KinesisClient open(Clients clients, String kind, AwsCredentialsProvider keys) {
        var with = clients.with(keys);
        return kind.equals("sync") ? with.sync() : Clients.waiting(with.async());
    }

    private static void refused(
            Clients clients, String kind, AwsCredentialsProvider keys, String name) {
        try (var kinesis = open(clients, kind, keys)) {
            // Twice: a refusal leaves the connection as it was.
            for (int i = 0; i < 2; i++) {
                var error = Check.refused(KinesisException.class, "", kinesis::listStreams);
                same(name, error.awsErrorDetails().errorCode(), "the error's name");
            }
        }
    }

    /** Small calls and the largest: each body is part of its signature. */
    private static void session(KinesisClient kinesis, String kind) throws Exception {
        var stream = "signed-" + kind;
        kinesis.createStream(
                b ->
                        b.streamName(stream)
                                .streamModeDetails(m -> m.streamMode(StreamMode.ON_DEMAND)));
        Check.wait(
                "ACTIVE",
                Duration.ofSeconds(30),
                () -> {
                    var about = kinesis.describeStreamSummary(b -> b.streamName(stream));
                    var status = about.streamDescriptionSummary().streamStatus();
                    return status == StreamStatus.ACTIVE ? true : null;
                });
        var random = new Random(11);
        for (var bytes : new int[] {0, 1, 1000, (1 << 20) - 64}) {
            var data = new byte[bytes];
            random.nextBytes(data);
            var put =
                    kinesis.putRecord(
                            b ->
                                    b.streamName(stream)
                                            .partitionKey("clé " + bytes)
                                            .explicitHashKey("0")
                                            .data(SdkBytes.fromByteArray(data.clone())));
            var iterator =
                    kinesis.getShardIterator(
                                    b ->
                                            b.streamName(stream)
                                                    .shardId(put.shardId())
                                                    .shardIteratorType(
                                                            ShardIteratorType.AT_SEQUENCE_NUMBER)
                                                    .startingSequenceNumber(put.sequenceNumber()))
                            .shardIterator();
            var found = kinesis.getRecords(b -> b.shardIterator(iterator).limit(1)).records();
            same(data, found.get(0).data(), "a record of " + bytes + " bytes");
        }
        Check.refused(
                ResourceNotFoundException.class,
                "nowhere",
                () -> kinesis.describeStreamSummary(b -> b.streamName("nowhere")));
    }
}
