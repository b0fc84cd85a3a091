// In the place of packages that no panel needs: whatever is taken from it is itself.
const nothing = new Proxy(class {}, {
  get: (target, name) => (name === '__esModule' || name === 'prototype' ? Reflect.get(target, name) : nothing),
});
module.exports = nothing;
