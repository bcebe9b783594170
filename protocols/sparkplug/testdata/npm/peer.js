// Answers lines: "decode <hex>" with the fields as they travel, "tahu <hex>" with what Tahu makes of them, "encode <JSON>" with a payload.
const { get } = require('sparkplug-payload')
const tahu = get('spBv1.0')
const { org } = require('sparkplug-payload/lib/sparkplugPayloadProto')
const raw = org.eclipse.tahu.protobuf.Payload
const text = (k, v) => (v && v.constructor && v.constructor.name === 'Long') ? v.toString() : v instanceof Uint8Array ? Buffer.from(v).toString('hex') : v
require('readline').createInterface({ input: process.stdin }).on('line', line => {
  const at = line.indexOf(' ')
  const what = line.slice(0, at), rest = line.slice(at + 1)
  let out
  try {
    if (what === 'encode') out = Buffer.from(tahu.encodePayload(JSON.parse(rest))).toString('hex')
    else if (what === 'tahu') {
      const p = tahu.decodePayload(Buffer.from(rest, 'hex'))
      for (const m of p.metrics) if (m.value && m.value.unsigned === false) m.value = m.value.toString()
      out = JSON.stringify(p, function (k, v) { return text(k, this[k]) })
    } else {
      const p = raw.toObject(raw.decode(Buffer.from(rest, 'hex')), { longs: String, bytes: String, json: true })
      out = JSON.stringify(p)
    }
  } catch (e) { out = 'error ' + e }
  console.log(out)
})
