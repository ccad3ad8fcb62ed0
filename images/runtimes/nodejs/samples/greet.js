// The small JSON function that the benchmark runs on every start path.
'use strict';

exports.handler = async (event) => {
  const name = event.name;
  const items = event.items;
  return { greeting: `Hello, ${name}!`, items: JSON.parse(JSON.stringify(items)), count: items.length };
};
