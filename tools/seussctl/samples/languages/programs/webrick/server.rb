# A server with WEBrick.
require 'webrick'

count = 0
server = WEBrick::HTTPServer.new(BindAddress: '127.0.0.1', Port: ENV['PORT'].to_i, AccessLog: [], Logger: WEBrick::Log.new($stderr, WEBrick::Log::ERROR))
server.mount_proc('/count') { |_, a| a.body = "#{count += 1}\n" }
server.mount_proc('/echo') { |q, a| a.body = "#{q.request_method} #{q.query_string} #{q.body}" }
server.mount_proc('/parts') do |_, a|
  a.chunked = true
  a.body = proc { |out| 64.times { out.write('x' * 8192) } }
end
server.start
