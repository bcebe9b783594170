"""A pymodbus client of registers that hold their own address: client.py tcp PORT | rtu TTY | ascii TTY, and debug to have it print frames"""
import logging
import sys
from pymodbus import other_message as other
from pymodbus.client import ModbusSerialClient, ModbusTcpClient
from pymodbus.diag_message import ReturnQueryDataRequest
from pymodbus.mei_message import ReadDeviceInformationRequest
from pymodbus.transaction import ModbusAsciiFramer, ModbusRtuFramer

kind, where = sys.argv[1:3]
if sys.argv[3:]:
    logging.basicConfig(level=logging.DEBUG)
    logging.getLogger("pymodbus").setLevel(logging.DEBUG)
if kind == "tcp":
    c = ModbusTcpClient("127.0.0.1", port=int(where), timeout=30)
else:
    c = ModbusSerialClient(where, framer=ModbusRtuFramer if kind == "rtu" else ModbusAsciiFramer, baudrate=19200, timeout=30)
assert c.connect()
assert c.read_holding_registers(3, 125, slave=7).registers == list(range(3, 128))
assert c.read_input_registers(5, 2, slave=7).registers == [1005, 1006]
assert c.read_coils(0, 16, slave=7).bits == [i % 3 == 0 for i in range(16)]
assert c.read_discrete_inputs(0, 16, slave=7).bits == [i % 3 != 0 for i in range(16)]
assert not c.write_coil(50, True, slave=7).isError()
assert not c.write_coils(51, [True, False, True], slave=7).isError()
assert c.read_coils(50, 4, slave=7).bits[:4] == [True, True, False, True]
assert not c.write_register(100, 0xCAFE, slave=7).isError()
assert not c.write_registers(101, [11, 22], slave=7).isError()
assert not c.mask_write_register(101, 0x00F2, 0x0025, unit=7).isError()
got = c.readwrite_registers(read_address=100, read_count=3, write_address=102, write_registers=[9], unit=7)
assert got.registers == [0xCAFE, 7, 9], got
assert c.read_holding_registers(65000, 1, slave=7).exception_code == 2
assert c.read_holding_registers(0, 1, slave=7).registers == [0]
assert c.execute(ReturnQueryDataRequest(0xA537, unit=7)).message == (0xA537,)
assert c.execute(other.GetCommEventCounterRequest(unit=7)).count > 10
assert c.execute(other.ReportSlaveIdRequest(unit=7)).identifier.startswith(b"g\xffgatewayd")
info = c.execute(ReadDeviceInformationRequest(2, 0, unit=7)).information
assert info[0] == b"gatewayd" and info[6] == b"test", info
assert c.execute(other.ReadExceptionStatusRequest(unit=7)).exception_code == 1
c.close()
print("all right")
