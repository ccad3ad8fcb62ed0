package tests

import "strings"

// modules is where npm's packages lie in the roots that have such.
const modules = "/usr/lib/node_modules"

// anyImageCase is a function that runs in roots as they are, and a program that gives its
// answer natively, in the same root.
type anyImageCase struct {
	name, runtime string
	needs         string // guest path, or a pattern of one, without which it is left out
	body          string // of the language, leaves the answer in "answer"; of Node.js a function may
}

var anyImageCases = []anyImageCase{
	{"plain", "python", "", "import sys, json, hashlib\nanswer = [list(sys.version_info[:3]), hashlib.sha256(b'x').hexdigest(), sys.flags.optimize]"},
	{"yaml", "python", "/usr/lib/python3/dist-packages/yaml", "import yaml\nanswer = yaml.safe_load('a: [1, 2.5, {b: c}]')"},
	{"pandas", "python", "/usr/lib/python3/dist-packages/pandas", "import pandas as pd\nf = pd.DataFrame({'k': ['a', 'b', 'a'], 'v': [1, 2, 3]})\nanswer = f.groupby('k').v.agg(['sum', 'mean']).reset_index().to_dict('records')"},
	{"lxml", "python", "/usr/lib/python3/dist-packages/lxml", "from lxml import etree\nanswer = etree.tostring(etree.XSLT(etree.XML('<x:stylesheet version=\"1.0\" xmlns:x=\"http://www.w3.org/1999/XSL/Transform\"><x:template match=\"/\"><r><x:value-of select=\"count(//b)\"/></r></x:template></x:stylesheet>'))(etree.XML('<a><b/><b/></a>'))).decode()"},
	{"requests", "python", "/usr/lib/python3/dist-packages/requests", "import requests\nr = requests.Request('GET', 'https://example.com/p', params={'q': 'a b'}).prepare()\nanswer = [r.url, requests.__version__]"},
	{"cryptography", "python", "/usr/lib/python3/dist-packages/cryptography", "from cryptography.fernet import Fernet\nfrom cryptography.hazmat.primitives import hashes\nh = hashes.Hash(hashes.SHA3_256()); h.update(b'x')\nk = Fernet.generate_key()\nanswer = [h.finalize().hex(), Fernet(k).decrypt(Fernet(k).encrypt(b'y')).decode()]"},
	{"pillow", "python", "/usr/lib/python3/dist-packages/PIL", "import io, hashlib\nfrom PIL import Image\ni = Image.linear_gradient('L').resize((33, 17))\nb = io.BytesIO(); i.save(b, 'PNG'); b.seek(0)\nanswer = [hashlib.sha256(Image.open(b).tobytes()).hexdigest(), i.size]"},
	{"flask", "python", "/usr/lib/python3/dist-packages/flask", "import flask\napp = flask.Flask('x')\n@app.route('/<n>')\ndef f(n): return {'n': n}\nanswer = app.test_client().get('/seven').get_json()"},
	{"scipy", "python", "/usr/lib/python3/dist-packages/scipy", "import numpy as np\nfrom scipy import linalg, optimize, stats, sparse\na = np.arange(9.0).reshape(3, 3) + 5 * np.eye(3)\nanswer = [np.round(linalg.solve(a, [1, 2, 3]), 9).tolist(), round(optimize.brentq(lambda x: x ** 3 - 2, 0, 2), 9), round(float(stats.norm.cdf(1.5)), 9), int(sparse.eye(50).tocsr().sum())]"},
	{"sklearn", "python", "/usr/lib/python3/dist-packages/sklearn", "from sklearn.datasets import load_iris\nfrom sklearn.ensemble import RandomForestClassifier\nfrom sklearn.linear_model import LogisticRegression\nx, y = load_iris(return_X_y=True)\nanswer = [round(LogisticRegression(max_iter=200).fit(x, y).score(x, y), 6), RandomForestClassifier(10, random_state=7).fit(x, y).predict(x[::10]).tolist()]"},
	{"torch", "python", "/usr/lib/python3/dist-packages/torch", "import torch\ntorch.manual_seed(5)\nm = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(4 * 36, 2))\no = torch.optim.SGD(m.parameters(), lr=0.1)\nx, y = torch.rand(8, 1, 8, 8), torch.tensor([0, 1] * 4)\nfor _ in range(5):\n    o.zero_grad(); l = torch.nn.functional.cross_entropy(m(x), y); l.backward(); o.step()\nanswer = [round(l.item(), 4), torch.__version__, torch.arange(6).view(2, 3).sum(0).tolist()]"},
	{"opencv", "python", "/usr/lib/python3/dist-packages/cv2*.so", "import cv2, hashlib\nimport numpy as np\ni = np.zeros((64, 64, 3), np.uint8)\ncv2.circle(i, (32, 32), 20, (255, 40, 10), -1)\ne = cv2.Canny(cv2.GaussianBlur(i, (5, 5), 0), 50, 150)\nok, png = cv2.imencode('.png', e)\nanswer = [hashlib.sha256(e.tobytes()).hexdigest(), int(cv2.imdecode(png, 0).sum()), cv2.__version__]"},
	{"matplotlib", "python", "/usr/lib/python3/dist-packages/matplotlib", "import io, hashlib, os\nos.environ['MPLCONFIGDIR'] = '/tmp/matplotlib'\nimport matplotlib\nmatplotlib.use('Agg')\nimport matplotlib.pyplot as plt\nf, ax = plt.subplots()\nax.plot([1, 4, 9, 16]); ax.set_title('squares')\nb = io.BytesIO(); f.savefig(b, format='rgba')\nanswer = [hashlib.sha256(b.getvalue()).hexdigest(), len(b.getvalue()), matplotlib.__version__]"},
	{"sqlalchemy", "python", "/usr/lib/python3/dist-packages/sqlalchemy", "import sqlalchemy as sa\nfrom sqlalchemy.orm import declarative_base, Session\nB = declarative_base()\nclass U(B):\n    __tablename__ = 'u'\n    id = sa.Column(sa.Integer, primary_key=True)\n    name = sa.Column(sa.String)\nen = sa.create_engine('sqlite://')\nB.metadata.create_all(en)\nwith Session(en) as s:\n    s.add_all([U(name=n) for n in 'cab']); s.commit()\n    answer = [s.execute(sa.select(U.name).order_by(U.name)).scalars().all(), str(sa.select(U).where(U.id > 3))]"},
	{"boto3", "python", "/usr/lib/python3/dist-packages/boto3", "import boto3\nfrom botocore.stub import Stubber\nc = boto3.client('dynamodb', region_name='eu-central-1', aws_access_key_id='a', aws_secret_access_key='b')\nwith Stubber(c) as s:\n    s.add_response('get_item', {'Item': {'k': {'S': 'v'}}}, {'TableName': 'table', 'Key': {'k': {'S': 'x'}}})\n    answer = [c.get_item(TableName='table', Key={'k': {'S': 'x'}})['Item'], c.meta.endpoint_url]"},
	{"igraph", "python", "/usr/lib/python3/dist-packages/igraph", "import igraph\ng = igraph.Graph.Famous('Zachary')\nanswer = [g.diameter(), [round(x, 9) for x in g.pagerank()[:5]], len(g.community_multilevel()), g.get_shortest_paths(0, 33)[0]]"},
	{"node", "node", "", "const answer = [process.versions.node, require('crypto').createHash('sha256').update('x').digest('hex'), [3, 1, 2].sort()];"},
	{"express", "node", modules + "/express", "const express = require('" + modules + "/express'), http = require('http');\nconst app = express(); app.use(express.json()); app.post('/sum', (q, r) => r.json({ sum: q.body.reduce((a, b) => a + b) }));\nconst answer = () => new Promise((done, fail) => { const s = app.listen(0, '127.0.0.1', () => { const q = http.request({ port: s.address().port, host: '127.0.0.1', path: '/sum', method: 'POST', agent: false, headers: { 'content-type': 'application/json' } }, (r) => { let b = ''; r.on('data', (d) => b += d).on('end', () => { s.close(); done([r.statusCode, JSON.parse(b)]); }); }); q.on('error', fail); q.end('[1,2,39]'); }); });"},
	{"sharp", "node", modules + "/sharp", "const sharp = require('" + modules + "/sharp'), { createHash } = require('crypto');\nconst answer = async () => { const p = await sharp({ create: { width: 60, height: 40, channels: 3, background: { r: 200, g: 10, b: 60 } } }).blur(2).resize(17, 9).png().toBuffer(); const { data, info } = await sharp(p).raw().toBuffer({ resolveWithObject: true }); return [createHash('sha256').update(data).digest('hex'), info.width, info.height, info.channels]; };"},
	{"bcrypt", "node", modules + "/bcrypt", "const bcrypt = require('" + modules + "/bcrypt');\nconst answer = async () => { const h = bcrypt.hashSync('secret', '$2b$05$abcdefghijklmnopqrstuu'); return [h, await bcrypt.compare('secret', h), await bcrypt.compare('other', h)]; };"},
	{"typescript", "node", modules + "/typescript", "const ts = require('" + modules + "/typescript');\nconst out = ts.transpileModule('enum E { A = 3 } const f = <T,>(x: T): T[] => [x, x]; export const v: number[] = f(E.A as number);', { compilerOptions: { module: ts.ModuleKind.CommonJS, target: ts.ScriptTarget.ES2019 } }).outputText;\nconst answer = () => { const exports = {}; new Function('exports', out)(exports); return [exports.v, ts.version]; };"},
	{"bundle", "node", modules + "/bundle", "const answer = require('" + modules + "/bundle').answer;"},
	{"ruby", "ruby", "", "require 'json'\nrequire 'digest'\nanswer = [RUBY_VERSION, Digest::SHA256.hexdigest('x'), [3, 1, 2].sort]"},
}

// function is the case's code as a module with a handler; program prints the answer.
func (c *anyImageCase) function() (file, code string) {
	switch c.runtime {
	case "node":
		return "main.js", c.body + "\nlet n = 0;\nexports.handler = async () => [typeof answer === 'function' ? await answer() : answer, ++n];\n"
	case "ruby":
		return "main.rb", strings.ReplaceAll(c.body, "answer =", "$answer =") + "\ndef handler(event:, context:)\n  $n = ($n || 0) + 1\n  [$answer, $n]\nend\n"
	}
	return "main.py", c.body + "\nn = 0\ndef handler(event, context):\n    global n\n    n += 1\n    return [answer, n]\n"
}

func (c *anyImageCase) program() (flag, code string) {
	switch c.runtime {
	case "node":
		return "-e", c.body + "\n(async () => console.log(JSON.stringify(typeof answer === 'function' ? await answer() : answer)))();"
	case "ruby":
		return "-e", c.body + "\nputs JSON.generate(answer)"
	}
	return "-c", c.body + "\nimport json\nprint(json.dumps(answer))"
}

// anyImageProgram is a function that is a program of the root, which reads an event.
type anyImageProgram struct {
	name    string
	command []string
	event   string
}

var anyImagePrograms = []anyImageProgram{
	{"musl-threads", []string{"/bin/threads"}, "30"},
	{"musl-many-threads", []string{"/bin/threads"}, "200"},
	{"busybox-awk", []string{"/bin/busybox", "awk", "-F", ",", `{ for (i = 1; i <= NF; i++) s += $i * i } END { printf "[%d, \"%s\", %.4f]\n", NF, toupper("abc"), s / 7 }`}, "[0, 2, 3]"},
	{"busybox-sh", []string{"/bin/busybox", "sh", "-c", `read -r line; echo "[${line%%l*}\", $((6 * 7)), ${#line}]"`}, `"hello"`},
	{"static", []string{"/app"}, `"some input"`},
}
