/* client PORT REGISTERS MILLISECONDS: reads back to back with libmodbus's client, and prints transactions per second. */
#include <modbus.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec / 1e9;
}

int main(int argc, char **argv) {
  if (argc != 4) return 2;
  int n = atoi(argv[2]);
  uint16_t r[125];
  modbus_t *m = modbus_new_tcp("127.0.0.1", atoi(argv[1]));
  modbus_set_slave(m, 1);
  if (modbus_connect(m)) return 3;
  double begin = now(), end = begin + atof(argv[3]) / 1000;
  long done = 0;
  for (; done % 64 || now() < end; done++)
    if (modbus_read_registers(m, 0, n, r) != n) return 4;
  printf("%.0f\n", done / (now() - begin));
  return 0;
}
