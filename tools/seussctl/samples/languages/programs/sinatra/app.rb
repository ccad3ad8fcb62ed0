# A server with Sinatra, in WEBrick.
require 'sinatra'
require 'webrick'

set :server, 'webrick'
set :bind, '127.0.0.1'
set :port, ENV['PORT'].to_i
set :server_settings, AccessLog: [], Logger: WEBrick::Log.new($stderr, WEBrick::Log::ERROR)
set :logging, false
count = 0
get('/count') { "#{count += 1}\n" }
%i[get post].each { |m| send(m, '/echo') { "#{request.request_method} #{request.query_string} #{request.body.read}" } }
get('/parts') { Array.new(64, 'x' * 8192) }
