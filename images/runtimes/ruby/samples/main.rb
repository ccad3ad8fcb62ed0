# frozen_string_literal: true

# A function: seussctl calls handler with the event of each invocation.
#
# What stands at the top runs once, when the function is deployed; its memory is in the
# snapshot that every invocation starts from.
require "json"

GREETINGS = { "de" => "Grüezi", "en" => "Hello", "fr" => "Salut" }.freeze

def handler(event:, context:)
  name = event.fetch("name", "world")
  greeting = GREETINGS.fetch(event.fetch("language", "en"), "Hello")
  puts JSON.generate(request: context.aws_request_id, name: name) # into the log
  { text: "#{greeting}, #{name}!" }
end
