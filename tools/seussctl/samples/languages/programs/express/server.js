// A server with Express.
const express = require('express');
const app = express();
let count = 0;
app.use(express.text({ type: () => true, limit: '1mb' }));
app.get('/count', (q, a) => a.send(`${++count}\n`));
app.all('/echo', (q, a) => a.send(`${q.method} ${q.url.split('?')[1] || ''} ${typeof q.body === 'string' ? q.body : ''}`));
app.get('/parts', async (q, a) => {
  for (let n = 0; n < 64; n++) await new Promise((next) => a.write('x'.repeat(8192), next));
  a.end();
});
app.listen(process.env.PORT);
