/* A libmodbus server with the meter's contents: server tcp PORT | server rtu TTY */
#include <errno.h>
#include <modbus.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv) {
  if (argc != 3) return 2;
  int tcp = !strcmp(argv[1], "tcp"), listener = -1;
  modbus_t *m = tcp ? modbus_new_tcp("127.0.0.1", atoi(argv[2])) : modbus_new_rtu(argv[2], 19200, 'N', 8, 2);
  modbus_mapping_t *map = modbus_mapping_new(100, 100, 200, 200);
  if (!m || !map) return 3;
  modbus_set_slave(m, 7);
  if (getenv("SHOW")) { /* every byte received and sent */
    setvbuf(stdout, NULL, _IONBF, 0);
    modbus_set_debug(m, TRUE);
  }
  for (int i = 0; i < 200; i++) map->tab_registers[i] = i, map->tab_input_registers[i] = 1000 + i;
  for (int i = 0; i < 100; i++) map->tab_bits[i] = i % 3 == 0, map->tab_input_bits[i] = i % 3 != 0;
  if (tcp) listener = modbus_tcp_listen(m, 1);
  else if (modbus_connect(m)) return 4;
  for (;;) {
    if (tcp && modbus_tcp_accept(m, &listener) < 0) return 5;
    for (;;) {
      uint8_t query[MODBUS_TCP_MAX_ADU_LENGTH];
      int n = modbus_receive(m, query);
      if (n > 0) modbus_reply(m, query, n, map);
      else if (n < 0 && tcp) break;
      else if (n < 0 && (errno == EIO || errno == EBADF)) return 0;
    }
    modbus_close(m);
  }
}
