# frozen_string_literal: true

module SeussDriver
  # Lambda's context object. Its fields are parsed when the first is read, and
  # that is noted.
  class Context
    attr_writer :used

    def initialize
      @raw = "{}"
      @fields = nil
      @used = false
    end

    # A function that has read its context has taken outside input in.
    def used = @used

    def renew(raw)
      @raw = raw
      @fields = nil
    end

    %w[aws_request_id invoked_function_arn log_group_name log_stream_name function_name memory_limit_in_mb
       function_version identity client_context deadline_ms].each do |name|
      define_method(name) { field(name) }
    end

    def get_remaining_time_in_millis
      [field("deadline_ms") - Process.clock_gettime(Process::CLOCK_REALTIME, :millisecond), 0].max
    end

    def inspect = "#<LambdaContext>"

    private

    def field(name)
      @used = true
      @fields ||= JSON.parse(@raw.dup.force_encoding(Encoding::UTF_8))
      @fields[name]
    end
  end
end
