"""A pymodbus client of the meter: client.py tcp PORT | rtu TTY | ascii TTY"""
import sys
from pymodbus import diag_message as diag, file_message as file, other_message as other
from pymodbus.client import ModbusSerialClient, ModbusTcpClient
from pymodbus.mei_message import ReadDeviceInformationRequest
from pymodbus.transaction import ModbusAsciiFramer, ModbusRtuFramer

kind, where = sys.argv[1:]
if kind == "tcp":
    c = ModbusTcpClient("127.0.0.1", port=int(where))
else:
    c = ModbusSerialClient(where, framer=ModbusRtuFramer if kind == "rtu" else ModbusAsciiFramer, baudrate=19200, timeout=3)
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
ask = c.execute
assert ask(other.ReadExceptionStatusRequest(unit=7)).status == 0x6D
assert ask(diag.ReturnQueryDataRequest(0xA537, unit=7)).message == (0xA537,)
assert not ask(diag.ClearCountersRequest(unit=7)).isError()
assert ask(diag.ReturnSlaveMessageCountRequest(unit=7)).message == (1,)
assert ask(other.GetCommEventCounterRequest(unit=7)).count == 2
log = ask(other.GetCommEventLogRequest(unit=7))
assert (log.event_count, log.message_count, log.events[0]) == (2, 3, 0x80), log.events
assert ask(other.ReportSlaveIdRequest(unit=7)).identifier == b"meter\xffv1"
one = file.FileRecord(file_number=4, record_number=1, record_length=2)
two = file.FileRecord(file_number=3, record_number=9, record_length=1)
got = ask(file.ReadFileRecordRequest([one, two], unit=7)).records
assert [r.record_data for r in got] == [b"\x0d\xfe\x00\x20", b"\x00\x13"], [r.record_data for r in got]
new = file.FileRecord(file_number=4, record_number=0, record_length=1, record_data=b"\x00\x2a")
assert not ask(file.WriteFileRecordRequest([new], unit=7)).isError()
first = file.FileRecord(file_number=4, record_number=0, record_length=1)
assert ask(file.ReadFileRecordRequest([first], unit=7)).records[0].record_data == b"\x00\x2a"
if kind != "rtu":  # pymodbus predicts a wrong length for this answer
    assert not ask(file.ReadFifoQueueRequest(1246, unit=7)).isError()
info, start = {}, 0
while True:
    got = ask(ReadDeviceInformationRequest(3, start, unit=7))
    info.update(got.information)
    if not got.more_follows:
        break
    start = got.next_object_id
assert info[0] == b"Acme" and info[0x83] == b"d" * 100 and len(info) == 10, info
c.close()
print("all right")
