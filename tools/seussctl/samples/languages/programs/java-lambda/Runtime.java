// A runtime in Java, with java.net's connections.
import java.net.HttpURLConnection;
import java.net.URL;

public class Runtime {
    static final String API = "http://" + System.getenv("AWS_LAMBDA_RUNTIME_API") + "/2018-06-01/runtime/invocation/";

    public static void main(String[] args) throws Exception {
        for (int count = 1;; count++) {
            var next = (HttpURLConnection) new URL(API + "next").openConnection();
            String event = new String(next.getInputStream().readAllBytes());
            boolean fail = event.contains("\"fail\":true");
            String body = fail ? "{\"errorType\":\"Asked\",\"errorMessage\":\"as asked\"}" : "{\"count\":" + count + ",\"event\":" + event + "}";
            var post = (HttpURLConnection) new URL(API + next.getHeaderField("Lambda-Runtime-Aws-Request-Id") + (fail ? "/error" : "/response")).openConnection();
            post.setRequestMethod("POST");
            post.setDoOutput(true);
            post.getOutputStream().write(body.getBytes());
            post.getInputStream().readAllBytes();
        }
    }
}
