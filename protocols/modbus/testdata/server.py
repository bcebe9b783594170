"""A pymodbus server with the meter's contents: server.py tcp PORT | rtu TTY | ascii TTY"""
import sys
from pymodbus.datastore import ModbusSequentialDataBlock as Block, ModbusServerContext, ModbusSlaveContext
from pymodbus.server import StartSerialServer, StartTcpServer
from pymodbus.transaction import ModbusAsciiFramer, ModbusRtuFramer

kind, where = sys.argv[1:]
meter = ModbusSlaveContext(
    hr=Block(0, list(range(200))), ir=Block(0, [1000 + i for i in range(200)]),
    co=Block(0, [i % 3 == 0 for i in range(100)]), di=Block(0, [i % 3 != 0 for i in range(100)]), zero_mode=True)
context = ModbusServerContext(slaves={7: meter}, single=False)
if kind == "tcp":
    StartTcpServer(context=context, address=("127.0.0.1", int(where)))
else:
    StartSerialServer(context=context, framer=ModbusRtuFramer if kind == "rtu" else ModbusAsciiFramer, port=where, baudrate=19200)
