/* A libmodbus client of the meter: client tcp PORT | client rtu TTY. It prints the differences and returns their number. */
#include <errno.h>
#include <modbus.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int faults;
#define EXPECT(what) do { if (!(what)) faults++, printf("line %d: %s: %s\n", __LINE__, #what, modbus_strerror(errno)); } while (0)

int main(int argc, char **argv) {
  if (argc != 3) return 2;
  modbus_t *m = !strcmp(argv[1], "tcp") ? modbus_new_tcp("127.0.0.1", atoi(argv[2])) : modbus_new_rtu(argv[2], 19200, 'N', 8, 2);
  uint16_t r[125], w[] = {11, 22, 33};
  uint8_t b[100], c[] = {1, 0, 1, 1};
  modbus_set_slave(m, 7);
  modbus_set_response_timeout(m, 3, 0);
  if (modbus_connect(m)) return 3;
  EXPECT(modbus_read_registers(m, 3, 125, r) == 125 && r[0] == 3 && r[124] == 127);
  EXPECT(modbus_read_input_registers(m, 5, 2, r) == 2 && r[1] == 1006);
  EXPECT(modbus_read_bits(m, 0, 100, b) == 100 && b[99] == 1 && b[98] == 0);
  EXPECT(modbus_read_input_bits(m, 0, 9, b) == 9 && b[8] == 1 && b[0] == 0);
  EXPECT(modbus_write_bit(m, 50, 1) == 1);
  EXPECT(modbus_write_bits(m, 51, 4, c) == 4);
  EXPECT(modbus_read_bits(m, 50, 5, b) == 5 && b[0] && b[1] && !b[2] && b[3] && b[4]);
  EXPECT(modbus_write_register(m, 100, 0xcafe) == 1);
  EXPECT(modbus_write_registers(m, 101, 3, w) == 3);
  EXPECT(modbus_mask_write_register(m, 101, 0x00f2, 0x0025) == 1);
  EXPECT(modbus_write_and_read_registers(m, 103, 1, w, 100, 4, r) == 4 && r[0] == 0xcafe && r[1] == 7 && r[3] == 11);
  EXPECT(modbus_read_registers(m, 65000, 1, r) == -1 && errno == EMBXILADD);
  EXPECT(modbus_read_registers(m, 0, 1, r) == 1 && r[0] == 0);
  uint8_t id[100];
  EXPECT(modbus_report_slave_id(m, sizeof id, id) == 8 && !memcmp(id, "meter\377v1", 8));
  uint8_t status[] = {7, 7}, answer[MODBUS_TCP_MAX_ADU_LENGTH];
  int header = !strcmp(argv[1], "tcp") ? 6 : 0;
  EXPECT(modbus_send_raw_request(m, status, sizeof status) > 0 && modbus_receive_confirmation(m, answer) > 0 && answer[header + 2] == 0x6d);
  modbus_close(m);
  return faults;
}
