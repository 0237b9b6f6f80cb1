package weir;

import java.time.Duration;
import java.util.Arrays;
import java.util.Objects;
import java.util.function.Supplier;
import software.amazon.awssdk.core.SdkBytes;
import software.amazon.awssdk.services.kinesis.model.KinesisException;

/** What must hold; the first thing that does not ends the program. */
final class Check {
    private static int count;

    private Check() {}

    static final class Failed extends AssertionError {
        private static final long serialVersionUID = 1;

        Failed(String text) {
            super(text);
        }
    }

    /** How many checks held. */
    static int held() {
        return count;
    }

    static void that(boolean holds, String what) {
        if (!holds) {
            throw new Failed(what);
        }
        count++;
    }

    static void same(Object expected, Object found, String what) {
        that(Objects.equals(expected, found), what + ": expected " + expected + ", found " + found);
    }

    static void same(byte[] expected, SdkBytes found, String what) {
        var bytes = found.asByteArrayUnsafe();
        that(
                Arrays.equals(expected, bytes),
                what + ": " + bytes.length + " other bytes, expected " + expected.length);
    }

    /** The call fails with this exception, this name on the wire, status 400 and this text. */
    static <E extends KinesisException> E refused(Class<E> type, String text, Supplier<?> call) {
        try {
            var answer = call.get();
            throw new Failed(type.getSimpleName() + " expected, found " + answer);
        } catch (KinesisException error) {
            that(type.isInstance(error), type.getSimpleName() + " expected, found " + error);
            var details = error.awsErrorDetails();
            if (type != KinesisException.class) {
                same(type.getSimpleName(), details.errorCode(), "the error's name");
            }
            same(400, error.statusCode(), error.toString());
            that(
                    details.errorMessage().contains(text),
                    "expected '" + text + "' in: " + details.errorMessage());
            that(error.requestId() != null, "an error has a request id");
            that(error.extendedRequestId() != null, "an error has an x-amz-id-2");
            return type.cast(error);
        }
    }

    /** Looks every 20 ms until {@code look} gives something. */
    static <T> T wait(String what, Duration patience, Supplier<T> look) throws InterruptedException {
        var until = System.nanoTime() + patience.toNanos();
        while (true) {
            var found = look.get();
            if (found != null) {
                return found;
            }
            that(System.nanoTime() < until, what + " did not come within " + patience);
            Thread.sleep(20);
        }
    }
}
