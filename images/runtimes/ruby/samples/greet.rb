# frozen_string_literal: true

# The small JSON function that the benchmark runs on every start path.
require "json"

def handler(event:, context:)
  name = event["name"]
  items = event["items"]
  { greeting: "Hello, #{name}!", items: JSON.parse(JSON.generate(items)), count: items.length }
end
