"""A pymodbus meter, or a client of one:
peer.py server|client udp|rtu-over-udp|tls PORT [CERTIFICATE KEY CA]"""
import asyncio
import ssl
import sys
from pymodbus.client import AsyncModbusTlsClient, ModbusUdpClient
from pymodbus.datastore import ModbusSequentialDataBlock as Block, ModbusServerContext, ModbusSlaveContext
from pymodbus.server import StartTlsServer, StartUdpServer
from pymodbus.transaction import ModbusRtuFramer, ModbusSocketFramer

role, kind, port, files = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4:]
framer = ModbusRtuFramer if kind == "rtu-over-udp" else ModbusSocketFramer  # the TLS framer of pymodbus has no MBAP header


def secure(protocol):
    ctx = ssl.SSLContext(protocol)
    ctx.load_cert_chain(files[0], files[1])
    ctx.load_verify_locations(files[2])
    ctx.verify_mode = ssl.CERT_REQUIRED
    return ctx


if role == "server":
    meter = ModbusSlaveContext(hr=Block(0, list(range(200))), zero_mode=True)
    context = ModbusServerContext(slaves={7: meter}, single=False)
    if kind == "tls":
        StartTlsServer(context=context, framer=framer, address=("127.0.0.1", port), sslctx=secure(ssl.PROTOCOL_TLS_SERVER))
    else:
        StartUdpServer(context=context, framer=framer, address=("127.0.0.1", port))
elif kind == "tls":  # the other client waits for the socket even if the TLS layer already holds the answer
    async def ask():
        client = AsyncModbusTlsClient("127.0.0.1", port=port, framer=framer, sslctx=secure(ssl.PROTOCOL_TLS_CLIENT), server_hostname="meter.example")
        await client.connect()
        for first in range(0, 100, 10):
            assert (await client.read_holding_registers(first, 10, slave=7)).registers == list(range(first, first + 10))
        assert not (await client.write_registers(100, [11, 22], slave=7)).isError()
        assert (await client.read_holding_registers(100, 2, slave=7)).registers == [11, 22]
        await client.close()
    asyncio.run(ask())
else:
    client = ModbusUdpClient("127.0.0.1", port=port, framer=framer)
    assert client.connect()
    for first in range(0, 100, 10):
        assert client.read_holding_registers(first, 10, slave=7).registers == list(range(first, first + 10))
    assert not client.write_registers(100, [11, 22], slave=7).isError()
    assert client.read_holding_registers(100, 2, slave=7).registers == [11, 22]
    client.close()
