# frozen_string_literal: true

# Answers queries over a table that takes long to build. Deployed with lazy
# arguments it asks for "table" first, builds the table, and only then asks for
# "query": the built table is what an argument snapshot holds.
require "fiddle"

RECORD = 64 # bytes of a customer's record

# SHAKE256 with as many bytes as one likes, which Ruby's OpenSSL::Digest does not offer.
module Shake256
  LIBRARY = Fiddle.dlopen("libcrypto.so.3")
  P = Fiddle::TYPE_VOIDP
  N = Fiddle::TYPE_SIZE_T

  def self.import(name, arguments, result = Fiddle::TYPE_INT)
    function = Fiddle::Function.new(LIBRARY[name], arguments, result)
    define_singleton_method(name) { |*a| function.call(*a) }
  end
  import("EVP_MD_CTX_new", [], P)
  import("EVP_shake256", [], P)
  import("EVP_DigestInit_ex", [P, P, P])
  import("EVP_DigestUpdate", [P, P, N])
  import("EVP_DigestFinalXOF", [P, P, N])
  import("EVP_MD_CTX_free", [P], Fiddle::TYPE_VOID)

  def self.digest(text, bytes)
    out = "\0".b * bytes
    state = EVP_MD_CTX_new()
    done = [EVP_DigestInit_ex(state, EVP_shake256(), nil), EVP_DigestUpdate(state, text, text.bytesize), EVP_DigestFinalXOF(state, out, bytes)]
    EVP_MD_CTX_free(state)
    done.all?(1) ? out : raise("libcrypto computes no SHAKE256")
  end
end

Table = Struct.new(:rows, :data, :index) do
  def self.build(rows, seed)
    raise RangeError, "rows is #{rows}, want 1 to 500000" unless rows.between?(1, 500_000)

    new(rows, Shake256.digest(seed.to_s, rows * RECORD), (0...rows).to_h { |n| [format("c%06d", n), n * RECORD] })
  end

  def record(customer) = data.byteslice(index.fetch(customer), RECORD)
end

def handler(event:, context:)
  table = Table.build(event["table"]["rows"], event["table"]["seed"])
  query = event["query"]
  record = table.record(query["customer"])
  {
    customer: query["customer"],
    rows: table.rows,
    balance: record.unpack1("L<"),
    orders: record.unpack("@4S<#{query.fetch("orders", 3)}"),
  }
end
