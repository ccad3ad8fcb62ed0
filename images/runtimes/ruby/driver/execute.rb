# frozen_string_literal: true

module SeussDriver
  # Code that runs in the live interpreter of an instance, one piece after the other, as
  # at a prompt: what one defines the next ones see. The last value is the result.
  module Execute
    REPR_LIMIT = 65_536 # characters
    NAMESPACE = TOPLEVEL_BINDING.dup
    @count = 0

    class << self
      # Returns the type and the payload of the answer.
      def run(code)
        @count += 1
        [MSG_RESULT, document(NAMESPACE.eval(code, "(exec #{@count})", 1))]
      rescue Exception => e # whatever it is, it is the code's own
        [MSG_ERROR, Errors.document(e, "Exec")]
      end

      private

      def document(value)
        return '{"value":null}' if value.nil?

        text = value.inspect.dup.force_encoding(Encoding::UTF_8).scrub
        text = "#{text[0, REPR_LIMIT]} [#{text.length - REPR_LIMIT} characters were cut]" if text.length > REPR_LIMIT
        repr = JSON.generate(text)
        plain = plain?(value) ? JSON.generate(value) : nil
        plain && plain.bytesize < RESULT_BYTES / 2 ? %({"value":#{plain},"repr":#{repr}}) : %({"repr":#{repr}})
      rescue JSON::GeneratorError
        %({"repr":#{repr}})
      end

      # Whether JSON says all that there is of a value.
      def plain?(value, depth = 0)
        case value
        when nil, true, false, Integer, String then true
        when Float then value.finite?
        when Array then depth < 64 && value.all? { |v| plain?(v, depth + 1) }
        when Hash then depth < 64 && value.all? { |k, v| k.is_a?(String) && plain?(v, depth + 1) }
        else false
        end
      end
    end
  end
end
