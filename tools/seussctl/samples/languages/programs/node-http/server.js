// A server with Node.js's own http.
const http = require('http');
let count = 0;
http.createServer((q, a) => {
  const [path, query = ''] = q.url.split('?');
  if (path === '/count') return a.end(`${++count}\n`);
  if (path === '/echo') {
    const parts = [];
    q.on('data', (p) => parts.push(p));
    q.on('end', () => a.end(`${q.method} ${query} ${Buffer.concat(parts)}`));
    return;
  }
  if (path === '/parts') {
    let n = 0;
    const next = () => (n++ < 64 ? a.write('x'.repeat(8192), next) : a.end());
    return next();
  }
  a.statusCode = 404;
  a.end('there is no such page\n');
}).listen(process.env.PORT);
