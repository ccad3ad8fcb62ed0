# frozen_string_literal: true

module SeussDriver
  # The random generators that live in the runtime's memory.
  #
  # A snapshot carries their state, so each clone gets fresh entropy before the
  # function sees control; and a function that has drawn from them before a
  # capture has taken outside input in, which must be known. Random.new,
  # Random.urandom and SecureRandom ask the kernel library each time.
  class Generators
    def initialize(link)
      @link = link
      @before = nil
      @used = false
    end

    def reseed(seed)
      number = seed.unpack1("H*").hex
      Random.srand(number)
      OpenSSL::Random.random_add(seed, seed.bytesize.to_f) if defined?(OpenSSL::Random)
      # The generator of temporary files' names is made when tmpdir is loaded.
      Dir::Tmpname.const_get(:RANDOM).__send__(:initialize, number) if defined?(Dir::Tmpname)
      @link.seeded
    end

    def begin
      @used = false
      mark
    end

    def mark
      @before = state
    end

    # Whether the function has drawn from the default generator since begin.
    def drawn?
      @used ||= @before != state
    end

    private

    # left: draws until the next block of numbers is made of the state.
    def state
      [Random.__send__(:left), Random.__send__(:state)]
    end
  end
end
