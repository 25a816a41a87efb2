import java.net.URI;
import java.net.URISyntaxException;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.regex.Pattern;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.runtime.io.network.netty.InboundChannelHandlerFactory;
import org.apache.flink.runtime.rest.FileUploadHandler;
import org.apache.flink.shaded.netty4.io.netty.buffer.Unpooled;
import org.apache.flink.shaded.netty4.io.netty.channel.ChannelFutureListener;
import org.apache.flink.shaded.netty4.io.netty.channel.ChannelHandlerContext;
import org.apache.flink.shaded.netty4.io.netty.channel.ChannelInboundHandlerAdapter;
import org.apache.flink.shaded.netty4.io.netty.channel.ChannelPipeline;
import org.apache.flink.shaded.netty4.io.netty.handler.codec.http.DefaultFullHttpResponse;
import org.apache.flink.shaded.netty4.io.netty.handler.codec.http.HttpHeaders;
import org.apache.flink.shaded.netty4.io.netty.handler.codec.http.HttpRequest;
import org.apache.flink.shaded.netty4.io.netty.handler.codec.http.HttpResponseStatus;
import org.apache.flink.shaded.netty4.io.netty.handler.codec.http.HttpVersion;
import org.apache.flink.shaded.netty4.io.netty.util.ReferenceCountUtil;

/**
 * Refuses requests to Flink's REST interface that a web page of another site may have made a browser send.
 *
 * <p>Flink finds this factory by {@code java.util.ServiceLoader} and adds its handler to each connection. It is
 * compiled by the compiler in Flink's own jars (Janino), so the code keeps to what that knows: no lambdas, casts in
 * place of inferred generics.
 */
public final class RestGuardFactory implements InboundChannelHandlerFactory {
    static final String ALLOWED_HOSTS = "sketchstream.rest.allowed-hosts";
    static final String SUBMISSION = "sketchstream.rest.submission";

    public int priority() {
        return 0;
    }

    public Optional createHandler(Configuration configuration, Map responseHeaders) {
        Set hosts = new HashSet();
        hosts.add("localhost");
        hosts.add(configuration.getString("rest.address", "localhost").toLowerCase());
        String more = configuration.getString(ALLOWED_HOSTS, "").toLowerCase();
        hosts.addAll(Arrays.asList(more.trim().split("[\\s,;]+")));
        hosts.remove("");
        boolean submission = !"false".equals(configuration.getString(SUBMISSION, "true"));
        return Optional.of(new RestGuard(hosts, submission));
    }
}

/** Checks each request of one connection before anything of it is stored. */
final class RestGuard extends ChannelInboundHandlerAdapter {
    private static final String NAME = "rest-guard";
    private static final Pattern ADDRESS = Pattern.compile("\\d{1,3}(\\.\\d{1,3}){3}|\\[[0-9a-f:.]+\\]");
    private static final Pattern OF_A_JOB = Pattern.compile("/(v\\d+/)?jobs/[0-9a-fA-F]{32}/[a-z/-]+");

    private final Set hosts;
    private final boolean submission;
    private boolean refused;

    RestGuard(Set hosts, boolean submission) {
        this.hosts = hosts;
        this.submission = submission;
    }

    /** Moves the check in front of Flink's handler of uploads, which would write a refused file to disk. */
    public void handlerAdded(ChannelHandlerContext context) {
        ChannelPipeline pipeline = context.pipeline();
        if (!NAME.equals(context.name())) {
            String uploads = pipeline.context(FileUploadHandler.class).name();
            pipeline.remove(this);
            pipeline.addBefore(uploads, NAME, new RestGuard(hosts, submission));
        }
    }

    public void channelRead(ChannelHandlerContext context, Object message) {
        if (!refused && message instanceof HttpRequest) {
            String problem = problemOf((HttpRequest) message);
            refused = problem != null;
            if (refused) {
                refuse(context, problem);
            }
        }
        if (refused) {
            ReferenceCountUtil.release(message);
        } else {
            context.fireChannelRead(message);
        }
    }

    /** Says why a request is refused; null where it is not. */
    private String problemOf(HttpRequest request) {
        HttpHeaders headers = request.headers();
        List named = headers.getAll("Host");
        String host = named.size() == 1 ? ((String) named.get(0)).trim().toLowerCase() : "";
        String name = host.replaceFirst(":\\d{1,5}$", "");
        if (!hosts.contains(name) && !ADDRESS.matcher(name).matches()) {
            return "the Host header names none of this server's names; add it to " + RestGuardFactory.ALLOWED_HOSTS;
        }
        if (!isSameOrigin(headers.getAll("Origin"), host)) {
            return "a page of another origin may not send requests here";
        }
        String method = request.method().name();
        String path = request.uri().replaceFirst("\\?.*$", "");
        String site = headers.get("Sec-Fetch-Site");
        boolean link = "GET".equals(method) && "/".equals(path) && "navigate".equals(headers.get("Sec-Fetch-Mode"));
        if (("cross-site".equals(site) || "same-site".equals(site)) && !link) {
            return "a page of another site may not send requests here";
        }
        if (!submission && "POST".equals(method) && !OF_A_JOB.matcher(path).matches()) {
            return "this cluster takes no jobs";
        }
        return null;
    }

    /** Returns whether a browser sent no origin, or the very address that the request went to. */
    private static boolean isSameOrigin(List origins, String host) {
        for (int i = 0; i < origins.size(); i++) {
            try {
                URI origin = new URI(((String) origins.get(i)).trim().toLowerCase());
                if (!host.equals(origin.getAuthority())) {
                    return false;
                }
            } catch (URISyntaxException problem) {
                return false;
            }
        }
        return true;
    }

    private static void refuse(ChannelHandlerContext context, String problem) {
        byte[] body = ("{\"errors\":[\"Refused: " + problem + ".\"]}").getBytes(StandardCharsets.UTF_8);
        DefaultFullHttpResponse answer = new DefaultFullHttpResponse(
                HttpVersion.HTTP_1_1, HttpResponseStatus.FORBIDDEN, Unpooled.wrappedBuffer(body));
        answer.headers().set("Content-Type", "application/json; charset=UTF-8");
        answer.headers().set("Content-Length", String.valueOf(body.length));
        answer.headers().set("Connection", "close");
        context.writeAndFlush(answer).addListener(ChannelFutureListener.CLOSE);
    }
}
