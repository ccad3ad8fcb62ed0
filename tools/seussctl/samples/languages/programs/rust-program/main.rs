// Counts the words of its input.
use std::io::Read;

fn main() {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).unwrap();
    println!("{{\"bytes\": {}, \"words\": {}}}", text.len(), text.split_whitespace().count());
}
