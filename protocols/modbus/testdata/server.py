"""A pymodbus server with the meter's contents: server.py tcp PORT | udp PORT | rtu TTY | ascii TTY, or rtu-tcp PORT and the like.
But over plain TCP it is silent for units that are not there."""
import signal
import sys
from pymodbus.datastore import ModbusSequentialDataBlock as Block, ModbusServerContext, ModbusSlaveContext
from pymodbus.device import ModbusDeviceIdentification
from pymodbus.server import StartSerialServer, StartTcpServer, StartUdpServer
from pymodbus.transaction import ModbusAsciiFramer, ModbusRtuFramer, ModbusSocketFramer

signal.signal(signal.SIGINT, signal.default_int_handler)  # tests end the server by this signal, also if it was started in the background
kind, where = sys.argv[1:]
meter = ModbusSlaveContext(
    hr=Block(0, list(range(200))), ir=Block(0, [1000 + i for i in range(200)]),
    co=Block(0, [i % 3 == 0 for i in range(100)]), di=Block(0, [i % 3 != 0 for i in range(100)]), zero_mode=True)
context = ModbusServerContext(slaves={7: meter}, single=False)
names = {0: "Acme", 1: "M-1", 2: "V1.0", 3: "http://acme.example", 4: "Meter", 5: "M"}
identity = ModbusDeviceIdentification(info={**names, 0x80: "a" * 100, 0x81: "b" * 100, 0x82: "c" * 100})
framing, _, way = kind.partition("-")
framer = {"tcp": ModbusSocketFramer, "udp": ModbusSocketFramer, "rtu": ModbusRtuFramer, "ascii": ModbusAsciiFramer}[framing]
settings = dict(context=context, identity=identity, framer=framer, ignore_missing_slaves=kind != "tcp")
if "tcp" in (framing, way):
    StartTcpServer(address=("127.0.0.1", int(where)), **settings)
elif "udp" in (framing, way):
    StartUdpServer(address=("127.0.0.1", int(where)), **settings)
else:
    StartSerialServer(port=where, baudrate=19200, **settings)
