# frozen_string_literal: true

# Keeps its machine for event["hold"] seconds, so that others have to be made.
def handler(event:, context:)
  sleep event["hold"]
  true
end
