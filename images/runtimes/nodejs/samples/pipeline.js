// The first and the last stage of a pipeline whose middle is a function in another language:
// read takes numbers out of a text and has a line fitted to them, report says what that is.
// Deploy pipeline.read with --call fit, fit with --call report, and pipeline.report as report.
'use strict';

const { chainCall, awaitCall } = require('seuss');

exports.read = async ({ csv }) => {
  const points = csv.trim().split('\n').slice(1).map((line) => line.split(',').map(Number));
  const bad = points.findIndex((p) => p.length !== 2 || p.some(Number.isNaN));
  if (bad >= 0) throw new RangeError(`line ${bad + 2}: want two numbers`);
  return awaitCall(await chainCall('fit', { points }));
};

exports.report = async ({ slope, intercept, points }) => ({
  text: `y = ${slope.toFixed(3)} x ${intercept < 0 ? '-' : '+'} ${Math.abs(intercept).toFixed(3)}, of ${points} points`,
});
