"""A pymodbus client that proves who it is: tls.py PORT DIR. It prints what it read and how its write ended."""
import asyncio
import ssl
import sys
from pymodbus.client import AsyncModbusTlsClient
from pymodbus.transaction import ModbusSocketFramer  # its framer for TLS omits the MBAP header, contrary to R-05

port, dir = sys.argv[1:]
context = ssl.create_default_context(cafile=dir + "/ca.pem")
context.load_cert_chain(dir + "/master.pem", dir + "/master.key")


async def main():
    c = AsyncModbusTlsClient("localhost", port=int(port), sslctx=context, framer=ModbusSocketFramer, server_hostname="localhost")
    await c.connect()
    answer = await asyncio.wait_for(c.protocol.read_holding_registers(3, 4, slave=7), 5)
    print("read", answer.registers)
    answer = await asyncio.wait_for(c.protocol.write_register(5, 55, slave=7), 5)
    print("write", answer.exception_code if answer.isError() else "done")


asyncio.run(main())
