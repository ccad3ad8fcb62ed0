# Draws from Ruby's generators before and after it reads its input.
require "json"
require "securerandom"

draw = -> { {"rand" => rand(2**62).to_s, "hash of a string" => "x".hash.to_s, "SecureRandom" => SecureRandom.hex} }
draw.call
$stdin.read
puts JSON.generate(draw.call)
