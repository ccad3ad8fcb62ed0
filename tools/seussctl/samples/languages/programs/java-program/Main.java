// Counts the bytes of its input.
public class Main {
    public static void main(String[] args) throws Exception {
        System.out.println("{\"bytes\": " + System.in.readAllBytes().length + "}");
    }
}
