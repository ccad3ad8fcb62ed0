// A server with com.sun.net.httpserver.
import com.sun.net.httpserver.HttpServer;
import java.net.InetSocketAddress;
import java.util.concurrent.atomic.AtomicInteger;

public class Server {
    public static void main(String[] args) throws Exception {
        var count = new AtomicInteger();
        var server = HttpServer.create(new InetSocketAddress("127.0.0.1", Integer.parseInt(System.getenv("PORT"))), 0);
        server.createContext("/count", x -> {
            byte[] b = (count.incrementAndGet() + "\n").getBytes();
            x.sendResponseHeaders(200, b.length);
            x.getResponseBody().write(b);
            x.close();
        });
        server.createContext("/echo", x -> {
            String q = x.getRequestURI().getRawQuery();
            byte[] b = (x.getRequestMethod() + " " + (q == null ? "" : q) + " " + new String(x.getRequestBody().readAllBytes())).getBytes();
            x.sendResponseHeaders(200, b.length);
            x.getResponseBody().write(b);
            x.close();
        });
        server.createContext("/parts", x -> {
            x.sendResponseHeaders(200, 0);
            byte[] b = "x".repeat(8192).getBytes();
            for (int n = 0; n < 64; n++) {
                x.getResponseBody().write(b);
            }
            x.close();
        });
        server.start();
    }
}
