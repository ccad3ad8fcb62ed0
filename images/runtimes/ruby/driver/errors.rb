# frozen_string_literal: true

module SeussDriver
  # Lambda's error JSON for Ruby.
  module Errors
    FRAMES = 100 # as many of a stack trace as Lambda gives

    # What is no part of a function's stack trace: this driver and the require of
    # RubyGems.
    INTERNAL = Regexp.union("#{__dir__}/", "/rubygems/core_ext/kernel_require.rb:", "<internal:")

    # What adds to messages, for people at a terminal.
    DECORATORS = [
      defined?(DidYouMean::Correctable) && DidYouMean::Correctable,
      defined?(ErrorHighlight::CoreExt) && ErrorHighlight::CoreExt,
    ].compact.freeze

    private_constant :FRAMES, :INTERNAL, :DECORATORS

    class << self
      # stage is Function, or Init while code is loaded.
      def document(error, stage)
        JSON.generate(
          errorMessage: text(message(error)),
          errorType: "#{stage}<#{error.class}>",
          stackTrace: trace(error),
        )
      end

      def too_large(bytes)
        JSON.generate(
          errorMessage: "Response payload size (#{bytes} bytes) exceeded maximum allowed payload size (#{RESULT_BYTES} bytes).",
          errorType: "Function.ResponseSizeTooLarge",
          stackTrace: [],
        )
      end

      private

      # The error's own message, as newer Ruby's message is: without suggestions and
      # excerpts of the source.
      def message(error)
        return error.message unless DECORATORS.include?(error.method(:to_s).owner)

        Exception.instance_method(:to_s).bind_call(error)
      rescue StandardError => e
        "(its message raised #{e.class})"
      end

      def trace(error)
        (error.backtrace || []).grep_v(INTERNAL).first(FRAMES).map { |line| text(line) }
      end

      # JSON is UTF-8; a message may be anything.
      def text(message)
        message = message.to_s
        message = message.encode(Encoding::UTF_8, invalid: :replace, undef: :replace) unless message.encoding == Encoding::BINARY
        message.dup.force_encoding(Encoding::UTF_8).scrub
      rescue EncodingError
        message.dup.force_encoding(Encoding::UTF_8).scrub
      end
    end
  end
end
