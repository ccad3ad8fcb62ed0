// Keeps its machine for event.hold seconds, so that others have to be made.
exports.handler = async (event) => {
  await new Promise((done) => setTimeout(done, 1000 * event.hold));
  return true;
};
