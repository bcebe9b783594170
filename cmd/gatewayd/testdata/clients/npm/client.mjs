// A client that knows the topic state/catalogue and nothing else of the gateway; see ../client.py.
//
// client.mjs PORT NUMBER
import Ajv from "ajv/dist/2020.js";
import formats from "ajv-formats";
import mqtt from "mqtt";

const [port, number] = process.argv.slice(2).map(Number);
const name = `node-${number}`;
const client = await mqtt.connectAsync(`mqtt://127.0.0.1:${port}`, { clientId: name, protocolVersion: 4 });
const ajv = formats(new Ajv({ strict: false, validateFormats: true }));

const listeners = new Set();
client.on("message", (topic, payload, packet) => listeners.forEach((listener) => listener(topic, payload, packet)));

// next resolves with the next n messages under a filter; ready is called once the broker has confirmed the subscription.
function next(filter, n, ready = () => {}) {
  const pattern = new RegExp(`^${filter.replaceAll("+", "[^/]+")}$`);
  return new Promise((resolve, reject) => {
    const all = [];
    const timer = setTimeout(() => reject(new Error(`nothing came on ${filter}`)), 30000);
    const listener = (topic, payload) => {
      if (!pattern.test(topic)) return;
      all.push(JSON.parse(payload.toString()));
      if (all.length < n) return;
      clearTimeout(timer);
      listeners.delete(listener);
      client.unsubscribeAsync(filter).then(() => resolve(all));
    };
    listeners.add(listener);
    client.subscribeAsync(filter, { qos: 1 }).then(ready, reject);
  });
}

const first = async (filter, ready) => (await next(filter, 1, ready))[0];

function check(value, description, of) {
  const validate = ajv.compile({ $ref: `#/$defs/${of}`, $defs: description.$defs });
  if (!validate(value)) throw new Error(`${of}: ${ajv.errorsText(validate.errors)}: ${JSON.stringify(value)}`);
}

// build makes the smallest value that a schema allows, whose numbers are NUMBER above the minimum.
function build(description, rule) {
  if (rule.$ref) return build(description, description.$defs[rule.$ref.split("/").pop()]);
  if (rule.enum) return rule.enum[0];
  switch (rule.type) {
    case "object":
      return Object.fromEntries((rule.required ?? []).map((key) => [key, build(description, rule.properties[key])]));
    case "array":
      return Array(Math.max(1, rule.minItems ?? 0)).fill(build(description, rule.items));
    case "boolean":
      return true;
    case "string":
      return "x".repeat(rule.minLength ?? 0);
  }
  return (rule.minimum ?? 0) + number;
}

const fill = (template, values) => template.replace(/\{(\w+)\}/g, (_, key) => values[key]);

const index = await first("state/catalogue");
const way = index.ways.find((w) => w.door === "mqtt");
let path, description, method;
for (const kind of index.kinds) {
  const one = await first(`state/catalogue/Kind/${kind.kind}`);
  const writes = one.services.flatMap((s) => s.methods).find((m) => m.name.startsWith("Write"));
  if (writes && kind.actors?.length) [path, description, method] = [kind.actors[0], one, writes];
}
const listing = await first(`state/catalogue/${path}`);
if (listing.kind !== description.kind) throw new Error(JSON.stringify(listing));

const call = (request, token) =>
  first(fill(way.answer, { client: name, token }), () => client.publish(fill(way.call, { path, method: method.name, token }), JSON.stringify(request)));

const request = build(description, description.$defs[method.request]);
check(request, description, method.request);
const answer = await call(request, "1");
check(answer, description, method.response);
if (answer.code) throw new Error(answer.message);
const refusal = await call({ nonsense: 1 }, "2");
check(refusal, description, description.error);
if (refusal.code !== "invalid_argument") throw new Error(JSON.stringify(refusal));

const leaf = description.publishes.find((l) => l.class === "data");
for (const value of await next(fill(leaf.topic, { path }), 3)) {
  check(value, description, leaf.message);
  if (!value.samples.length) throw new Error(JSON.stringify(value));
}
await client.endAsync();
console.log(path, method.name, JSON.stringify(request), "and three messages of", leaf.message);
