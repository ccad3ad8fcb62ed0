const q = require('querystring');
const { check } = require('./check.js');

exports.handler = async (event) => {
  check(event);
  return q.escape('a b');
};
