# frozen_string_literal: true

module SeussDriver
  # What the driver does before the base snapshot is taken, so that whatever is
  # built or cached at first use is in the base, neither in every function's
  # snapshot nor in every request's way.
  #
  # There is a warm-up of the driver's own, and one that the image's builder
  # configured (image build --warm-up).
  module WarmUp
    ROUNDS = 10

    CODE = <<~RUBY
      def seuss_warm_up(event:, context:)
        context.aws_request_id
        raise ArgumentError, event["fail"] if event.key?("fail")
        { "echo" => event["text"], "list" => [1, 2.5, nil, true, { key: "value" }] }
      end
    RUBY

    # As dispatcher/surroundings gives them to every function.
    SURROUNDINGS = { "AWS_LAMBDA_FUNCTION_VERSION" => "$LATEST", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE" => "128" }.freeze
    CONTEXT = '{"aws_request_id":"0","function_version":"$LATEST","memory_limit_in_mb":"128","deadline_ms":0}'

    CONFIGURED = "#{__dir__}/warm_up.json"

    class << self
      # Loads and invokes a function of the driver's own.
      def built_in(driver)
        ROUNDS.times do
          driver.load("handler" => "seuss_warm_up.seuss_warm_up", "surroundings" => SURROUNDINGS, "files" => { "seuss_warm_up.rb" => [CODE].pack("m0") })
          4.times { invoke(driver, '{"text": "warm", "more": [1, 2]}') }
          invoke(driver, '{"fail": "warm"}')
          driver.forget
        end
      end

      # Loads the function that the image was built with and invokes it on its events.
      # The function goes, the libraries that it loaded stay. An image whose warm-up
      # fails does not start.
      def configured(driver)
        return unless File.exist?(CONFIGURED)

        request = JSON.parse(File.read(CONFIGURED))
        driver.load(request)
        request["warm_up"].each.with_index(1) do |event, number|
          kind, answer = invoke(driver, JSON.generate(event))
          abort("warm-up event #{number} of the image failed: #{answer}") if kind != MSG_RESULT
        end
        driver.forget
      end

      private

      def invoke(driver, event)
        driver.invoke(false, ["", "", CONTEXT.bytesize, CONTEXT, event].pack("a#{FRAME_HEADER}a#{SEED_BYTES}L<a*a*"))
      end
    end
  end
end
