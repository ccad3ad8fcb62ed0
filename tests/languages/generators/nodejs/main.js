// Draws from Node.js' generators before and after it reads its input.
const crypto = require("crypto");
const draw = () => ({"Math.random": String(Math.random()), "crypto.randomBytes": crypto.randomBytes(16).toString("hex")});
draw();
require("fs").readFileSync(0);
console.log(JSON.stringify(draw()));
