# A Rack application, in Puma with its threads.
count = 0
run(lambda do |env|
  q = Rack::Request.new(env)
  case q.path
  when '/count' then [200, { 'Content-Type' => 'text/plain' }, ["#{count += 1}\n"]]
  when '/echo' then [200, { 'Content-Type' => 'text/plain' }, ["#{q.request_method} #{q.query_string} #{q.body.read}"]]
  when '/parts' then [200, { 'Content-Type' => 'text/plain' }, Enumerator.new { |y| 64.times { y << 'x' * 8192 } }]
  else [404, {}, ["there is no such page\n"]]
  end
end)
