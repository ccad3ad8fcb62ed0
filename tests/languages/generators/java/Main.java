// Draws from Java's generators before and after it reads its input.
import java.security.SecureRandom;
import java.util.Random;
import java.util.concurrent.ThreadLocalRandom;

public class Main {
    static final Random random = new Random();
    static final SecureRandom secure = new SecureRandom();

    static String draw() {
        byte[] b = new byte[16];
        secure.nextBytes(b);
        return String.format("{\"java.util.Random\": \"%d\", \"Math.random\": \"%s\", \"ThreadLocalRandom\": \"%d\", \"SecureRandom\": \"%s\"}",
            random.nextLong(), Math.random(), ThreadLocalRandom.current().nextLong(), new java.math.BigInteger(1, b));
    }

    public static void main(String[] args) throws Exception {
        draw();
        System.in.readAllBytes();
        System.out.println(draw());
    }
}
