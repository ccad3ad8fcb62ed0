// A function: seussctl calls handler with the event of each invocation.
//
// What stands at the top runs once, when the function is deployed; its memory is in the
// snapshot that every invocation starts from.
'use strict';

const greetings = { de: 'Grüezi', en: 'Hello', fr: 'Salut' };

exports.handler = async (event, context) => {
  const { name = 'world', language = 'en' } = event;
  const greeting = greetings[language] ?? 'Hello';
  console.log(JSON.stringify({ request: context.awsRequestId, name })); // into the log
  return { text: `${greeting}, ${name}!` };
};
