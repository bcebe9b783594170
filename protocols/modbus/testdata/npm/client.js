// A client of the meter: client.js jsmodbus|modbus-serial tcp|rtutcp PORT [basic]. It throws if something differs.
// basic omits the functions of devices that have more than registers and coils.
const assert = require('assert')
const net = require('net')
const [lib, kind, port, basic] = process.argv.slice(2)

const upTo = (n, f) => Array.from({ length: n }, (_, i) => f(i))
const refused = (promise, code) => promise.then(
  () => assert.fail('not refused'),
  (e) => assert.strictEqual(e.modbusCode ?? e.response?.body?.code, code, e))

async function serial () {
  const Modbus = require('modbus-serial')
  const c = new Modbus()
  const options = { port: +port }
  await (kind === 'tcp' ? c.connectTCP('127.0.0.1', options) : c.connectTelnet('127.0.0.1', options)) // connectTelnet sends plain RTU; connectTcpRTUBuffered sends MBAP
  c.setID(7)
  c.setTimeout(30000)
  assert.deepStrictEqual((await c.readHoldingRegisters(3, 125)).data, upTo(125, (i) => 3 + i))
  assert.deepStrictEqual((await c.readInputRegisters(5, 2)).data, [1005, 1006])
  assert.deepStrictEqual((await c.readCoils(0, 16)).data, upTo(16, (i) => i % 3 === 0))
  assert.deepStrictEqual((await c.readDiscreteInputs(0, 16)).data, upTo(16, (i) => i % 3 !== 0))
  await c.writeCoil(50, true)
  await c.writeCoils(51, [true, false, true])
  assert.deepStrictEqual((await c.readCoils(50, 8)).data.slice(0, 4), [true, true, false, true])
  await c.writeRegister(100, 0xcafe)
  await c.writeRegisters(101, [11, 22])
  assert.deepStrictEqual((await c.readHoldingRegisters(100, 3)).data, [0xcafe, 11, 22])
  await refused(c.readHoldingRegisters(65000, 1), 2)
  if (kind === 'tcp') { // over RTU, modbus-serial cannot find the end of these answers
    await c.maskWriteRegister(101, 0x00f2, 0x0025)
    assert.deepStrictEqual((await c.readHoldingRegisters(101, 1)).data, [7])
  }
  if (kind === 'tcp' && !basic) {
    const id = await c.readDeviceIdentification(2, 0)
    assert.strictEqual(id.data[0], 'Acme')
    assert.strictEqual(id.data[4], 'Meter')
  }
  await new Promise((resolve) => c.close(resolve))
}

async function js () {
  const Modbus = require('jsmodbus')
  const socket = net.connect({ host: '127.0.0.1', port: +port })
  const c = new Modbus.client.TCP(socket, 7, 30000)
  await new Promise((resolve, reject) => socket.once('connect', resolve).once('error', reject))
  const words = (answer) => answer.response.body.valuesAsArray
  const [a, b] = await Promise.all([c.readHoldingRegisters(3, 125), c.readInputRegisters(5, 2)]) // pipelined
  assert.deepStrictEqual(words(a), upTo(125, (i) => 3 + i))
  assert.deepStrictEqual(words(b), [1005, 1006])
  assert.deepStrictEqual(words(await c.readCoils(0, 16)), upTo(16, (i) => +(i % 3 === 0)))
  assert.deepStrictEqual(words(await c.readDiscreteInputs(0, 16)), upTo(16, (i) => +(i % 3 !== 0)))
  await c.writeSingleCoil(50, true)
  await c.writeMultipleCoils(51, [1, 0, 1])
  assert.deepStrictEqual(words(await c.readCoils(50, 4)).slice(0, 4), [1, 1, 0, 1])
  await c.writeSingleRegister(100, 0xcafe)
  await c.writeMultipleRegisters(101, [11, 22])
  assert.deepStrictEqual(words(await c.readHoldingRegisters(100, 3)), [0xcafe, 11, 22])
  await refused(c.readHoldingRegisters(65000, 1), 2)
  socket.end()
}

(lib === 'jsmodbus' ? js() : serial()).then(
  () => { console.log('all right'); process.exit(0) },
  (e) => { console.error(e); process.exit(1) })
