exports.check = (event) => {
  if (event.fail) throw new Error(event.fail);
};
