// A server with Fastify.
const { Readable } = require('stream');
const app = require('fastify')();
let count = 0;
app.addContentTypeParser('*', { parseAs: 'string' }, (q, body, done) => done(null, body));
app.get('/count', async () => `${++count}\n`);
app.route({ method: ['GET', 'POST'], url: '/echo', handler: async (q) => `${q.method} ${q.url.split('?')[1] || ''} ${q.body || ''}` });
app.get('/parts', (q, a) => a.send(Readable.from(Array(64).fill('x'.repeat(8192)))));
app.listen({ port: Number(process.env.PORT), host: '127.0.0.1' });
