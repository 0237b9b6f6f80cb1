package weir;

import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Proxy;
import java.net.URI;
import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import software.amazon.awssdk.auth.credentials.AwsBasicCredentials;
import software.amazon.awssdk.auth.credentials.AwsCredentialsProvider;
import software.amazon.awssdk.auth.credentials.StaticCredentialsProvider;
import software.amazon.awssdk.core.client.config.ClientOverrideConfiguration;
import software.amazon.awssdk.http.Protocol;
import software.amazon.awssdk.http.SdkHttpConfigurationOption;
import software.amazon.awssdk.http.apache.ApacheHttpClient;
import software.amazon.awssdk.http.nio.netty.NettyNioAsyncHttpClient;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.kinesis.KinesisAsyncClient;
import software.amazon.awssdk.services.kinesis.KinesisClient;
import software.amazon.awssdk.utils.AttributeMap;

/**
 * The SDK's two clients as a program makes them: Apache's HTTP/1.1 and Netty's HTTP/2, which for an
 * http endpoint opens with the HTTP/2 preface. Both speak CBOR.
 */
final class Clients {
    static final Region REGION = Region.EU_CENTRAL_1;

    private final URI endpoint;
    private final AwsCredentialsProvider credentials;
    private final int retries;

    /** A server's certificate is trusted whatever it says: tests sign their own. */
    private static final AttributeMap TRUSTING =
            AttributeMap.builder()
                    .put(SdkHttpConfigurationOption.TRUST_ALL_CERTIFICATES, true)
                    .build();

    private Clients(URI endpoint, AwsCredentialsProvider credentials, int retries) {
        this.endpoint = endpoint;
        this.credentials = credentials;
        this.retries = retries;
    }

    /** Clients with the keys of the environment. Without retries: a failure is to be seen. */
    static Clients of(String endpoint) {
        return new Clients(
                URI.create(endpoint),
                keys(System.getenv("AWS_ACCESS_KEY_ID"), System.getenv("AWS_SECRET_ACCESS_KEY")),
                0);
    }

    static AwsCredentialsProvider keys(String id, String secret) {
        return StaticCredentialsProvider.create(AwsBasicCredentials.create(id, secret));
    }

    Clients with(AwsCredentialsProvider credentials) {
        return new Clients(endpoint, credentials, retries);
    }

    Clients withRetries(int retries) {
        return new Clients(endpoint, credentials, retries);
    }

    URI endpoint() {
        return endpoint;
    }

    AwsCredentialsProvider credentials() {
        return credentials;
    }

    KinesisClient sync() {
        var builder =
                KinesisClient.builder()
                        .endpointOverride(endpoint)
                        .region(REGION)
                        .credentialsProvider(credentials)
                        .overrideConfiguration(override());
        if (isSecure()) {
            builder.httpClient(ApacheHttpClient.builder().buildWithDefaults(TRUSTING));
        }
        return builder.build();
    }

    private boolean isSecure() {
        return endpoint.getScheme().equals("https");
    }

    KinesisAsyncClient async() {
        var builder =
                KinesisAsyncClient.builder()
                        .endpointOverride(endpoint)
                        .region(REGION)
                        .credentialsProvider(credentials)
                        .overrideConfiguration(override());
        // For https only: over http the client must be what a program gets without asking.
        if (isSecure()) {
            var http = NettyNioAsyncHttpClient.builder().protocol(Protocol.HTTP2);
            builder.httpClient(http.buildWithDefaults(TRUSTING));
        }
        return builder.build();
    }

    private ClientOverrideConfiguration override() {
        return ClientOverrideConfiguration.builder()
                .apiCallTimeout(Duration.ofSeconds(60))
                .retryStrategy(retry -> retry.maxAttempts(retries + 1))
                .build();
    }

    /** The asynchronous client behind the synchronous one's face, so that one session tries both. */
    static KinesisClient waiting(KinesisAsyncClient client) {
        return (KinesisClient)
                Proxy.newProxyInstance(
                        Clients.class.getClassLoader(),
                        new Class<?>[] {KinesisClient.class},
                        (proxy, method, arguments) -> call(client, method, arguments));
    }

    private static Object call(KinesisAsyncClient client, Method method, Object[] arguments)
            throws Throwable {
        var twin = KinesisAsyncClient.class.getMethod(method.getName(), method.getParameterTypes());
        try {
            var answer = twin.invoke(client, arguments);
            return answer instanceof CompletableFuture<?> future ? future.join() : answer;
        } catch (InvocationTargetException failure) {
            throw failure.getCause();
        } catch (CompletionException failure) {
            throw failure.getCause();
        }
    }
}
